import { expect, test } from 'vitest';
import { repeats, settled } from './layout';
import type { Panel } from './model';

const at = (id: number, x: number, y: number, w: number, h: number) => ({ panel: { id, x, y, w, h } as Panel });

test('repeated panels share the width', () => {
  expect(repeats({ x: 12, y: 5, w: 12, h: 8 }, 2)).toEqual([{ x: 0, y: 5, w: 12, h: 8 }, { x: 12, y: 5, w: 12, h: 8 }]);
  expect(repeats({ x: 0, y: 0, w: 6, h: 2 }, 6).map((s) => `${s.x},${s.y}`)).toEqual(['0,0', '6,0', '12,0', '18,0', '0,2', '6,2']);
  expect(repeats({ x: 0, y: 0, w: 6, h: 2 }, 0)).toEqual([]);
});

test('no panel covers another', () => {
  const all = settled([at(1, 0, 0, 12, 8), at(2, 0, 0, 24, 4), at(3, 12, 0, 12, 8), at(4, 0, 8, 24, 2)]);
  expect(all.map(({ panel: p }) => [p.id, p.y])).toEqual([[1, 0], [2, 8], [3, 0], [4, 12]]);
});
