import { expect, test } from 'vitest';
import { convert, parse, toneOf } from './convert';
import { SHIPPED } from './shipped';

const panel = (more: object) => convert({ panels: [{ id: 1, title: 'P', type: 'timeseries', gridPos: { x: 0, y: 0, w: 12, h: 8 }, ...more }] });

// Each case: a dashboard, and beside it what becomes of it (`npx vitest -u` writes it anew).
const corpus = import.meta.glob<string>(['./corpus/*.json', '!./corpus/*.want.json'], { eager: true, query: '?raw', import: 'default' });
test('the corpus is there', () => expect(Object.keys(corpus).length).toBeGreaterThanOrEqual(3));
for (const [file, source] of Object.entries(corpus)) {
  test(`corpus: ${file}`, async () => {
    const { dashboard, left } = convert(parse(source));
    const brief = {
      title: dashboard.title,
      variables: dashboard.variables.map((v) => `${v.kind} ${v.name}=${v.current.join('|')}${v.multi ? ' multi' : ''}${v.all ? ' all' : ''}${v.hidden ? ' hidden' : ''} [${v.options.map((o) => o.value).join(' ')}] ${v.query}`.trim()),
      panels: dashboard.panels.map((p) => `${p.kind} ${p.title} @${p.x},${p.y} ${p.w}x${p.h} ${p.unit} ${p.draw} ${p.legend} ${p.calc} steps:${p.steps.map((s) => `${s.at}=${s.tone}`).join(',')} ${p.targets.map((t) => `${t.ref}${t.instant ? '!' : ''}${t.signal === 'logs' ? '~' : ''} ${t.expr} (${t.legend})`).join('; ')}`.trim()),
      left,
    };
    await expect(`${JSON.stringify(brief, null, 2)}\n`).toMatchFileSnapshot(file.replace('.json', '.want.json'));
  });
}

test('what is no dashboard says so', () => {
  expect(() => parse('{')).toThrow('It is not JSON');
  expect(() => parse('[]')).toThrow('no panels');
  expect(() => parse('{"apiVersion":"dashboard.grafana.app/v2beta1","spec":{"elements":{}}}')).toThrow('Classic');
  expect(parse('{"dashboard":{"panels":[]},"meta":{}}')).toEqual({ panels: [] });
});

test('nothing that is not taken is kept silent', () => {
  expect(panel({ type: 'geomap' }).left).toEqual(['panel "P": type geomap is not known']);
  expect(panel({ datasource: { type: 'influxdb' }, targets: [{ refId: 'A', query: 'x' }] }).left).toEqual(['panel "P", query A: data source of type influxdb']);
  expect(panel({ transformations: [{ id: 'organize' }, { id: 'groupBy' }] }).left).toEqual(['panel "P": transformation groupBy']);
  expect(panel({ fieldConfig: { defaults: { unit: 'furlongs' }, overrides: [{ matcher: { id: 'byType' } }, { matcher: { id: 'byName', options: 'a' }, properties: [{ id: 'unit', value: 'bytes' }, { id: 'custom.axisPlacement' }] }] } }).left).toEqual(['panel "P": unit furlongs is written behind the number as it is', 'panel "P": overrides byType', 'panel "P": override custom.axisPlacement for a']);
  expect(convert({ panels: [], templating: { list: [{ name: 'f', type: 'adhoc' }, { name: 'q', type: 'query', query: 'SELECT 1' }] }, annotations: { list: [{ name: 'deploys' }, { builtIn: 1 }] } }).left).toHaveLength(3);
});

test('odd shapes never fail', () => {
  for (const odd of [null, 1, 'x', [], {}, { fieldConfig: 7, options: [], targets: 'x', gridPos: null, yaxes: [null] }]) expect(() => panel((odd ?? {}) as object)).not.toThrow();
  expect(() => convert({ panels: [null, 3, 'x'], templating: { list: [null, {}] }, annotations: 4, links: {} } as never)).not.toThrow();
});

test('colours stand for states', () => {
  expect(['green', 'dark-red', 'semi-dark-orange', '#F2CC0C', 'rgba(50, 172, 45, 0.97)', '#3274D9', 'text', '#808080'].map(toneOf)).toEqual(['ok', 'failed', 'warning', 'warning', 'ok', 'running', 'plain', 'plain']);
});

test('what is shipped is taken whole', () => {
  for (const { json } of SHIPPED) {
    const { dashboard, left } = convert(parse(JSON.stringify(json)));
    expect(left).toEqual([]);
    expect(dashboard.panels.length).toBeGreaterThan(6);
    for (const p of dashboard.panels) expect(p.kind === 'row' || p.targets.length > 0).toBe(true);
  }
});
