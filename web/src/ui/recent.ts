// The screens someone looked at last, for the palette. Kept in the browser only.

export interface Place {
  url: string;
  name: string;
}

const KEPT = 8;

export function recent(): Place[] {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem('recent') ?? '[]');
    return Array.isArray(kept) ? (kept as Place[]).filter((p) => typeof p?.url === 'string' && typeof p.name === 'string') : [];
  } catch {
    return [];
  }
}

/** Puts a screen first; a commit is one entry, whatever station of it is open. */
export function remember(url: string, name: string) {
  const path = url.split('?')[0] ?? url;
  const keep = path === '/r/one' ? url.replace(/&tab=\w+/, '') : path;
  const others = recent().filter((p) => p.url !== keep);
  localStorage.setItem('recent', JSON.stringify([{ url: keep, name }, ...others].slice(0, KEPT)));
}
