import { expect, test } from 'vitest';
import { frameOf } from '../chart/frame';
import { convert } from './convert';
import type { Panel } from './model';
import { calculate, gridOf, heatOf, markdown, say, toneFor, wordsOf } from './reduce';

const panel = (more: object = {}) => convert({ panels: [{ id: 1, type: 'stat', title: 'x', ...more }] }).dashboard.panels[0] as Panel;

test('one number of many', () => {
  const values = Float64Array.of(1, NaN, 5, 3, NaN);
  expect((['last', 'lastNotNull', 'first', 'mean', 'min', 'max', 'sum', 'count', 'range', 'diff'] as const).map((c) => calculate(values, c))).toEqual([NaN, 3, 1, 3, 1, 5, 9, 3, 4, 2]);
  expect(calculate([], 'max')).toBeNaN();
});

test('thresholds give tones, mappings give words', () => {
  const steps = [{ at: -Infinity, tone: 'ok' as const }, { at: 80, tone: 'failed' as const }, { at: 60, tone: 'warning' as const }];
  expect([10, 60, 95, NaN].map((v) => toneFor(v, steps))).toEqual(['ok', 'warning', 'failed', 'plain']);
  expect(toneFor(150, steps, true, 100, 200)).toBe('ok');
  const mapped = panel({ fieldConfig: { defaults: { mappings: [{ type: 'value', options: { 0: { text: 'down', color: 'red' } } }, { type: 'range', options: { from: 5, to: 9, result: { text: 'some' } } }, { type: 'special', options: { match: 'null', result: { text: 'none' } } }] } } });
  expect([0, 7, NaN, 3].map((v) => say(v, mapped).text)).toEqual(['down', 'some', 'none', '3']);
  expect(say(0, mapped).tone).toBe('failed');
});

test('answers side by side are one table', () => {
  const answers = [{ ref: 'A', results: [{ metric: { pod: 'a' }, value: [0, '1'] as [number, string] }] }, { ref: 'B', results: [{ metric: { pod: 'a' }, value: [0, '2'] as [number, string] }, { metric: { pod: 'b' }, value: [0, '3'] as [number, string] }] }];
  const grid = gridOf(answers, panel({ transformations: [{ id: 'organize', options: { renameByName: { 'Value #A': 'Wanted', pod: 'Pod' }, indexByName: { 'Value #A': 0, pod: 1 } } }] }));
  expect(grid.columns).toEqual(['Wanted', 'Pod', 'Value #B']);
  expect(grid.rows.map((r) => r.cells)).toEqual([{ Wanted: 1, Pod: 'a', 'Value #B': 2 }, { Wanted: '', Pod: 'b', 'Value #B': 3 }]);
});

test('cumulative buckets become what fell into each', () => {
  const run = (le: string, v: string) => ({ metric: { le }, values: [[0, v]] as [number, string][] });
  const heat = heatOf(frameOf([{ runs: [run('+Inf', '10'), run('0.1', '4'), run('1', '9')] }], 0, 0, 15), 's');
  expect(heat.buckets).toEqual(['≤ 100 ms', '≤ 1 s', '≤ +Inf']);
  expect(heat.cells.map((c) => c[0])).toEqual([4, 5, 1]);
  expect(heat.most).toBe(5);
});

test('notes are text, never code', () => {
  expect(markdown('# Hi\n\nsee `x` and **y** in [docs](https://a.b/c)\n- one\n- two\n\n```sh\nls\n```')).toEqual([
    { kind: 'h', level: 1, inline: [{ kind: 'text', text: 'Hi' }] },
    { kind: 'p', inline: [{ kind: 'text', text: 'see ' }, { kind: 'code', text: 'x' }, { kind: 'text', text: ' and ' }, { kind: 'strong', text: 'y' }, { kind: 'text', text: ' in ' }, { kind: 'link', text: 'docs', href: 'https://a.b/c' }] },
    { kind: 'ul', items: [[{ kind: 'text', text: 'one' }], [{ kind: 'text', text: 'two' }]] }, { kind: 'pre', text: 'ls' },
  ]);
  expect(markdown('[x](javascript:alert(1))')[0]).toMatchObject({ inline: [{ kind: 'text', text: 'x' }, { kind: 'text', text: ')' }] });
  expect(wordsOf('<h1>A &amp; b</h1><script>alert(1)</script>c')).toBe('A & b\n\nc');
});
