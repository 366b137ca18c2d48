// Text to the clipboard. A page that did not come by TLS, as on a company's own network, has only the browser's old way.
export async function copyText(text: string): Promise<void> {
    if (navigator.clipboard) return navigator.clipboard.writeText(text);
    const before = document.activeElement as HTMLElement | null;
    const area = document.createElement('textarea');
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand('copy');
    area.remove();
    before?.focus({ preventScroll: true });
}
