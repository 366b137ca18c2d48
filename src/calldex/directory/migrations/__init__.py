"""How the directory database came to its present shape, one file in `versions/` a step."""
