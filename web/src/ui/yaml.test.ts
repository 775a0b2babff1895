import { expect, test } from 'vitest';
import { toYaml } from './yaml';

test('nested objects, lists and strings that look like something else', () => {
  const value = { kind: 'Pod', spec: { list: [{ name: 'a', on: 'yes' }, 'x'], empty: {}, none: [] }, text: 'a\nb\n' };
  expect(toYaml(value)).toBe('kind: Pod\nspec:\n  list:\n  - name: a\n    on: "yes"\n  - x\n  empty: {}\n  none: []\ntext: |\n  a\n  b');
});
