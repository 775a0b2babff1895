// A unified diff cut into files.

export interface FileDiff {
  name: string;
  added: number;
  removed: number;
  lines: { kind: 'add' | 'del' | 'head' | 'same'; text: string }[];
}

export function files(diff: string): FileDiff[] {
  const all: FileDiff[] = [];
  let inHunk = false;
  for (const text of diff.replace(/\n$/, '').split('\n')) {
    if (text.startsWith('diff --git ')) {
      all.push({ name: text.split(' b/').at(-1) ?? text, added: 0, removed: 0, lines: [] });
      inHunk = false;
      continue;
    }
    const file = all.at(-1);
    if (!file) continue;
    if (text.startsWith('@@')) {
      inHunk = true;
      file.lines.push({ kind: 'head', text });
    } else if (!inHunk) {
      if (!/^(index|---|\+\+\+) /.test(text) && text) file.lines.push({ kind: 'head', text });
    } else if (text.startsWith('+')) {
      file.added += 1;
      file.lines.push({ kind: 'add', text });
    } else if (text.startsWith('-')) {
      file.removed += 1;
      file.lines.push({ kind: 'del', text });
    } else file.lines.push({ kind: 'same', text });
  }
  return all;
}
