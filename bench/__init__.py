"""Speed and memory, measured on the real program over a real socket."""
