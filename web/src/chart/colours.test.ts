import { expect, test } from 'vitest';
import { fill, HUES, key, looks, LOOKS, nameOf, shared } from './colours';

type V = [number, number, number];
const linear = (c: number) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
const rgb = (hex: string) => [1, 3, 5].map((i) => linear(parseInt(hex.slice(i, i + 2), 16) / 255)) as V;
const luminance = (hex: string) => rgb(hex).reduce((sum, c, i) => sum + c * ([0.2126, 0.7152, 0.0722][i] ?? 0), 0);
const contrast = (a: string, b: string) => (Math.max(luminance(a), luminance(b)) + 0.05) / (Math.min(luminance(a), luminance(b)) + 0.05);
// Machado, Oliveira and Fernandes 2009, severity 1.
const VISIONS: V[][] = [
  [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
  [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
  [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
  [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
];
function lab(v: V): V {
  const f = (t: number) => (t > 0.008856 ? Math.cbrt(t) : 7.787 * t + 16 / 116);
  const x = f((0.4124 * v[0] + 0.3576 * v[1] + 0.1805 * v[2]) / 0.95047);
  const y = f(0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2]);
  const z = f((0.0193 * v[0] + 0.1192 * v[1] + 0.9505 * v[2]) / 1.08883);
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}
const seen = (hex: string, m: V[]) => lab(m.map((r) => Math.min(1, Math.max(0, r.reduce((s, c, i) => s + c * (rgb(hex)[i] ?? 0), 0)))) as V);

test('the hues are seen on both surfaces and told apart by everyone', () => {
  for (const [theme, surfaces] of [['light', ['#ffffff', '#f5f7f9']], ['dark', ['#0f1418', '#182027']]] as const) {
    const hues = HUES[theme];
    for (const hue of hues) for (const surface of surfaces) expect(contrast(hue, surface)).toBeGreaterThanOrEqual(3);
    for (const vision of VISIONS)
      hues.forEach((a, i) => hues.slice(i + 1).forEach((b) => {
        const [p, q] = [seen(a, vision), seen(b, vision)];
        expect(Math.hypot(p[0] - q[0], p[1] - q[1], p[2] - q[2])).toBeGreaterThan(30);
      }));
  }
});

test('a label set keeps its look, whatever else is drawn in whatever order', () => {
  const a = { pod: 'a', job: 'x' };
  expect(key(a)).toBe(key({ job: 'x', pod: 'a' }));
  const many = Array.from({ length: 12 }, (_, i) => key({ pod: `p${i}` }));
  expect(looks(many.toReversed())).toEqual(looks(many).toReversed());
  const all = looks(Array.from({ length: LOOKS }, (_, i) => `k${i}`)).map((l) => `${l.hue}/${l.dash}`);
  expect(new Set(all).size).toBe(LOOKS);
  expect(looks(Array.from({ length: 100 }, (_, i) => `k${i}`)).every((l) => l.hue < 6 && l.dash < 4)).toBe(true);
});

test('names leave out what all share', () => {
  const all = [{ __name__: 'up', job: 'a', instance: '1' }, { __name__: 'up', job: 'a', instance: '2' }];
  const common = shared(all);
  expect(common).toEqual({ __name__: 'up', job: 'a' });
  expect(nameOf(all[0] ?? {}, common)).toBe('{instance="1"}');
  expect(nameOf({ __name__: 'up' }, {})).toBe('up');
  expect(nameOf({}, {})).toBe('value');
  expect(fill('{{ pod }} of {{x}}', { pod: 'a' })).toBe('a of ');
});
