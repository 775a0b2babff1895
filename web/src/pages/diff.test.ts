import { expect, test } from 'vitest';
import { files } from './diff';

test('a diff is cut into files with their counts', () => {
  const all = files('diff --git a/x.rs b/x.rs\nindex 1..2 100644\n--- a/x.rs\n+++ b/x.rs\n@@ -1,2 +1,2 @@\n same\n-old\n+--- new\ndiff --git a/new b/new\nnew file mode 100644\n');
  expect(all.map((f) => [f.name, f.added, f.removed])).toEqual([['x.rs', 1, 1], ['new', 0, 0]]);
  expect(all[0]?.lines.at(-1)).toEqual({ kind: 'add', text: '+--- new' });
  expect(all[1]?.lines).toEqual([{ kind: 'head', text: 'new file mode 100644' }]);
});

test('an empty diff has no files', () => expect(files('')).toEqual([]));
