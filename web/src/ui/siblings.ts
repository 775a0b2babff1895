// The filtered list someone came from, for `[` and `]`.
let urls: string[] = [];

export function setSiblings(list: string[]) {
  urls = list;
}

/** The neighbour of a path in that list; undefined at its ends. */
export function sibling(path: string, step: 1 | -1): string | undefined {
  const at = urls.indexOf(path);
  return at < 0 ? undefined : urls[at + step];
}
