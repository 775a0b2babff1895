// Dashboards in Grafana's JSON to those drawn here. Whatever is not taken is listed with its place:
// nothing is dropped in silence.

import { knows } from '../chart/units';
import type { Kind } from '../chart/draw';
import { ALL, type Calc, type Converted, type Mapping, type Override, type Panel, type PanelKind, type Step, type Target, type Tone, type Variable, type VariableKind } from './model';

type Any = Record<string, unknown>;
const object = (v: unknown): Any => (typeof v === 'object' && v !== null && !Array.isArray(v) ? (v as Any) : {});
const list = (v: unknown): Any[] => (Array.isArray(v) ? v.map(object) : []);
const text = (v: unknown): string => (typeof v === 'string' ? v : typeof v === 'number' || typeof v === 'boolean' ? String(v) : '');
const figure = (v: unknown): number | undefined => (typeof v === 'number' && Number.isFinite(v) ? v : typeof v === 'string' && v.trim() !== '' && Number.isFinite(Number(v)) ? Number(v) : undefined);

const KINDS: Record<string, PanelKind> = {
  timeseries: 'timeseries', graph: 'timeseries', stat: 'stat', singlestat: 'stat', gauge: 'gauge', bargauge: 'bargauge', barchart: 'barchart', table: 'table', 'table-old': 'table', logs: 'logs', heatmap: 'heatmap', text: 'text', row: 'row',
};
const CALCS: Record<string, Calc> = { last: 'last', lastNotNull: 'lastNotNull', current: 'lastNotNull', first: 'first', firstNotNull: 'first', mean: 'mean', avg: 'mean', min: 'min', max: 'max', sum: 'sum', total: 'sum', count: 'count', range: 'range', diff: 'diff', delta: 'diff' };

/** A named or mixed colour as the state that it stands for. */
export function toneOf(colour: string): Tone {
  const name = colour.toLowerCase();
  for (const [word, tone] of [['green', 'ok'], ['red', 'failed'], ['orange', 'warning'], ['yellow', 'warning'], ['blue', 'running'], ['purple', 'paused'], ['violet', 'paused']] as const) if (name.includes(word)) return tone;
  const hex = /^#([0-9a-f]{6})/.exec(name)?.[1];
  const rgb = hex ? [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)) : /^rgba?\((\d+),\s*(\d+),\s*(\d+)/.exec(name)?.slice(1, 4).map(Number);
  const [r = 0, g = 0, b = 0] = rgb ?? [];
  const high = Math.max(r, g, b);
  const spread = high - Math.min(r, g, b);
  if (!rgb || spread < 40) return 'plain';
  const hue = (high === r ? ((g - b) / spread + 6) % 6 : high === g ? (b - r) / spread + 2 : (r - g) / spread + 4) * 60;
  return hue < 20 || hue >= 330 ? 'failed' : hue < 70 ? 'warning' : hue < 170 ? 'ok' : hue < 255 ? 'running' : 'paused';
}

class Conversion {
  readonly left: string[] = [];
  private readonly signals = new Map<string, string>();

  miss(where: string, what: string) {
    const line = where ? `${where}: ${what}` : what;
    if (!this.left.includes(line)) this.left.push(line);
  }

  variables(all: Any[]): Variable[] {
    return all.flatMap((v): Variable[] => {
      const name = text(v.name);
      const where = `variable ${name || '?'}`;
      const kind = text(v.type) as VariableKind;
      if (!['query', 'custom', 'interval', 'constant', 'datasource', 'textbox'].includes(kind)) {
        this.miss(where, `type ${text(v.type) || '?'} is not known`);
        return [];
      }
      if (!/^\w+$/.test(name)) {
        this.miss(where, 'its name is no word');
        return [];
      }
      const asked = typeof v.query === 'string' || typeof v.query === 'number' ? text(v.query) : text(object(v.query).query) || text(object(v.query).expr) || text(v.definition);
      if (kind === 'query' && asked && !/^\s*(label_values|label_names|metrics|query_result)\s*\(/.test(asked)) this.miss(where, `its query ${JSON.stringify(asked)} is none of label_values, label_names, metrics, query_result`);
      if (kind === 'datasource') this.signals.set(name, asked);
      let options = list(v.options).map((o) => ({ text: plain(o.text) || plain(o.value), value: plain(o.value) })).filter((o) => o.value !== ALL);
      if (kind === 'custom' || (kind === 'interval' && !options.length)) options = custom(asked);
      if (kind === 'interval') options = options.filter((o) => o.value && !o.value.startsWith('$__auto'));
      if (kind === 'interval' && v.auto === true) options.unshift({ text: 'auto', value: '$__rate_interval' });
      const current = object(v.current).value;
      const values = (Array.isArray(current) ? current : [current]).map(plain).filter(Boolean).map((c) => (c.startsWith('$__auto') ? '$__rate_interval' : c));
      const known: Variable = {
        name, kind, label: text(v.label) || name, query: asked, regex: text(v.regex), options,
        current: values, multi: v.multi === true, all: v.includeAll === true, allValue: text(v.allValue), hidden: v.hide === 2 || kind === 'constant' || kind === 'datasource', sort: figure(v.sort) ?? 0,
      };
      if ((kind === 'constant' || kind === 'textbox') && !known.current.length) known.current = [asked];
      if (kind !== 'query' && kind !== 'datasource' && !known.current.length && options[0]) known.current = [options[0].value];
      return [known];
    });
  }

  /** Metrics, logs, or something that does not exist here. */
  signal(source: unknown, where: string): 'metrics' | 'logs' | undefined {
    const type = text(object(source).type);
    const uid = typeof source === 'string' ? source : text(object(source).uid);
    const variable = /^\$\{?(\w+)\}?$/.exec(uid)?.[1];
    const said = `${type} ${variable ? `${this.signals.get(variable) ?? ''} ${variable}` : uid}`.toLowerCase();
    if (said.includes('loki')) return 'logs';
    if (!type || type === 'prometheus' || type === 'datasource' || type === 'grafana' || said.includes('prometheus')) return 'metrics';
    this.miss(where, `data source of type ${type}`);
    return undefined;
  }

  targets(panel: Any, kind: PanelKind, where: string): Target[] {
    return list(panel.targets).flatMap((t, i): Target[] => {
      const ref = text(t.refId) || String.fromCharCode(65 + i);
      if (t.hide === true) return [];
      const signal = kind === 'logs' ? 'logs' : this.signal(t.datasource ?? panel.datasource, `${where}, query ${ref}`);
      if (!signal) return [];
      const expr = text(t.expr);
      if (!expr) {
        if (Object.keys(t).some((k) => ['query', 'rawSql', 'target', 'expression', 'scenarioId'].includes(k))) this.miss(`${where}, query ${ref}`, 'it has no expression of PromQL or LogQL');
        return [];
      }
      const legend = text(t.legendFormat);
      return [{ ref, expr, legend: legend === '__auto' ? '' : legend, signal, table: t.format === 'table', instant: t.instant === true && t.range !== true }];
    });
  }

  panel(p: Any, at: number): Panel | undefined {
    const type = text(p.type);
    const title = text(p.title);
    const where = `panel ${title ? JSON.stringify(title) : (figure(p.id) ?? at + 1)}`;
    const kind = KINDS[type];
    if (!kind) {
      this.miss(where, p.libraryPanel ? 'it is kept in a library of panels elsewhere' : `type ${type || '?'} is not known`);
      return undefined;
    }
    const grid = object(p.gridPos);
    const defaults = object(object(p.fieldConfig).defaults);
    const own = object(defaults.custom);
    const options = object(p.options);
    const axis = list(p.yaxes)[0] ?? {};
    const unit = text(defaults.unit) || text(axis.format) || text(p.format) || (kind === 'row' || kind === 'text' || kind === 'logs' ? '' : 'short');
    if (unit && !knows(unit)) this.miss(where, `unit ${unit} is written behind the number as it is`);
    const calc = text((object(options.reduceOptions).calcs as unknown[] | undefined)?.[0]) || text(p.valueName);
    if (calc && !CALCS[calc] && ['stat', 'gauge', 'bargauge', 'barchart'].includes(kind)) this.miss(where, `calculation ${calc}; the last value is shown`);
    const style = text(own.drawStyle);
    const stacked = ['normal', 'percent'].includes(text(object(own.stacking).mode)) || p.stack === true;
    if (text(object(own.stacking).mode) === 'percent' || p.percentage === true) this.miss(where, 'stacking to 100 %; it is stacked by value');
    const fill = figure(own.fillOpacity) ?? (figure(p.fill) ?? 0) * 10;
    const draw: Kind = stacked ? 'stacked' : style === 'bars' || p.bars === true ? 'bars' : style === 'points' ? 'points' : text(own.lineInterpolation).startsWith('step') || p.steppedLine === true ? 'step' : fill > 0 ? 'area' : 'line';
    const legend = object(options.legend ?? p.legend);
    const shown = legend.showLegend !== false && legend.show !== false && text(legend.displayMode) !== 'hidden';
    const thresholds = object(defaults.thresholds);
    const scale = text(object(own.scaleDistribution).type) || (figure(axis.logBase) ?? 1) > 1 ? 'log' : '';
    for (const t of list(p.transformations)) if (!['organize', 'merge', 'labelsToFields', 'seriesToColumns'].includes(text(t.id)) && t.disabled !== true) this.miss(where, `transformation ${text(t.id) || '?'}`);
    if (p.alert) this.miss(where, 'its alert; write it as an alerting rule');
    if (text(p.timeFrom) || text(p.timeShift)) this.miss(where, 'a range of time of its own');
    if (own.axisPlacement === 'right' || list(p.yaxes)[1]?.show === true && list(p.seriesOverrides).some((o) => o.yaxis === 2)) this.miss(where, 'a second axis; all series share one');
    if (list(p.seriesOverrides).length) this.miss(where, 'seriesOverrides of the old graph panel');
    const organize = object(list(p.transformations).find((t) => t.id === 'organize')?.options);
    return {
      id: figure(p.id) ?? at + 1, kind, title, description: text(p.description), ...place(grid, p, kind),
      targets: kind === 'text' || kind === 'row' ? [] : this.targets(p, kind, where),
      unit: unit || 'short', decimals: figure(defaults.decimals) ?? figure(p.decimals),
      min: figure(defaults.min) ?? figure(axis.min), max: figure(defaults.max) ?? figure(axis.max),
      steps: steps(thresholds, p), percentage: thresholds.mode === 'percentage',
      mappings: this.mappings(Array.isArray(defaults.mappings) ? list(defaults.mappings) : list(p.valueMaps).map((m) => ({ type: 1, ...m })), where),
      overrides: this.overrides(list(object(p.fieldConfig).overrides), where),
      draw, bridge: own.spanNulls === true || p.nullPointMode === 'connected', log: scale === 'log' && text(object(own.scaleDistribution).type) !== 'linear',
      thresholdLines: ['line', 'line+area', 'dashed', 'dashed+area'].includes(text(object(own.thresholdsStyle).mode)),
      legend: !shown ? 'none' : text(legend.displayMode) === 'table' || legend.alignAsTable === true ? 'full' : 'brief',
      calc: CALCS[calc] ?? 'lastNotNull', text: text(options.content) || text(p.content), html: (text(options.mode) || text(p.mode)) === 'html',
      repeat: text(p.repeat), minStep: text(p.interval), collapsed: p.collapsed === true || p.collapse === true,
      columns: { rename: strings(organize.renameByName), without: Object.entries(object(organize.excludeByName)).filter(([, v]) => v === true).map(([k]) => k), order: Object.fromEntries(Object.entries(object(organize.indexByName)).flatMap(([k, v]) => (typeof v === 'number' ? [[k, v]] : []))) },
    };
  }

  mappings(all: Any[], where: string): Mapping[] {
    return all.flatMap((m): Mapping[] => {
      const options = object(m.options);
      const made = (result: Any, match: Mapping['match']): Mapping => ({ match, ...(text(result.text) ? { text: text(result.text) } : {}), ...(text(result.color) ? { tone: toneOf(text(result.color)) } : {}) });
      if (m.type === 'value') return Object.entries(options).map(([from, result]) => made(object(result), (v, t) => t === from || (from.trim() !== '' && v === Number(from))));
      if (m.type === 'range') {
        const [from, to] = [figure(options.from) ?? -Infinity, figure(options.to) ?? Infinity];
        return [made(object(options.result), (v) => v >= from && v <= to)];
      }
      if (m.type === 'special') {
        const what = text(options.match);
        return [made(object(options.result), (v, t) => (what === 'true' || what === 'false' ? t === what : what === 'empty' ? t === '' : Number.isNaN(v)))];
      }
      if (m.type === 'regex') {
        const pattern = regex(text(options.pattern));
        if (pattern) return [made(object(options.result), (_, t) => pattern.test(t))];
      }
      // The shape before version 8: 1 a value, 2 a range.
      if (m.type === 1 || m.type === 2) return [made(m, (v, t) => (m.type === 1 ? t === text(m.value) || v === figure(m.value) || (text(m.value) === 'null' && Number.isNaN(v)) : v >= (figure(m.from) ?? -Infinity) && v <= (figure(m.to) ?? Infinity)))];
      this.miss(where, `value mapping of type ${text(m.type) || '?'}`);
      return [];
    });
  }

  overrides(all: Any[], where: string): Override[] {
    return all.flatMap((o): Override[] => {
      const matcher = object(o.matcher);
      const id = text(matcher.id);
      const out: Override = {};
      if (id === 'byName') out.name = text(matcher.options);
      else if (id === 'byFrameRefID') out.ref = text(matcher.options);
      else if (id === 'byRegexp') {
        const pattern = regex(text(matcher.options));
        if (!pattern) {
          this.miss(where, `override for ${text(matcher.options)}: no regular expression of the browser`);
          return [];
        }
        out.pattern = pattern;
      } else {
        this.miss(where, `overrides ${id || '?'}`);
        return [];
      }
      const name = text(matcher.options);
      for (const p of list(o.properties)) {
        const property = text(p.id);
        if (property === 'unit') out.unit = text(p.value);
        else if (property === 'decimals') {
          const decimals = figure(p.value);
          if (decimals !== undefined) out.decimals = decimals;
        } else if (property === 'displayName') out.label = text(p.value);
        else if (property === 'custom.hidden' || (property === 'custom.hideFrom' && object(p.value).viz === true)) out.hidden = true;
        // Colours are given by label set, so that a series looks the same on every chart.
        else if (!['color', 'custom.width', 'custom.align', 'custom.lineStyle', 'custom.fillOpacity', 'custom.lineWidth', 'links', 'custom.displayMode', 'custom.cellOptions', 'custom.filterable'].includes(property)) this.miss(where, `override ${property} for ${name}`);
      }
      return [out];
    });
  }
}

const plain = (v: unknown): string => (Array.isArray(v) ? v.map(text).join(',') : text(v));
const strings = (v: unknown): Record<string, string> => Object.fromEntries(Object.entries(object(v)).flatMap(([k, s]) => (typeof s === 'string' && s ? [[k, s]] : [])));

/** `a,b : 2,c\,d` as a custom variable writes its options. */
function custom(query: string): { text: string; value: string }[] {
  return [...query.matchAll(/(?:\\,|[^,])+/g)].map(([part]) => part.trim().replaceAll('\\,', ',')).filter(Boolean).map((part) => {
    const pair = /^(.+?)\s:\s(.+)$/.exec(part);
    return { text: pair?.[1]?.trim() ?? part, value: pair?.[2]?.trim() ?? part };
  });
}

/** `/…/flags` or a bare pattern; undefined where the browser does not take it. */
export function regex(pattern: string): RegExp | undefined {
  const parts = /^\/(.*)\/([gimsuy]*)$/s.exec(pattern);
  try {
    return new RegExp(parts?.[1] ?? pattern, (parts?.[2] ?? '').replace(/[gy]/g, ''));
  } catch {
    return undefined;
  }
}

function steps(thresholds: Any, p: Any): Step[] {
  const found = list(thresholds.steps).map((s): Step => ({ at: figure(s.value) ?? -Infinity, tone: toneOf(text(s.color)) }));
  if (found.length || typeof p.thresholds !== 'string' || !p.thresholds) return found;
  const colours = Array.isArray(p.colors) ? p.colors.map(text) : [];
  return [{ at: -Infinity, tone: toneOf(colours[0] ?? '') }, ...p.thresholds.split(',').map((t, i): Step => ({ at: Number(t), tone: toneOf(colours[i + 1] ?? '') }))];
}

function place(grid: Any, p: Any, kind: PanelKind): { x: number; y: number; w: number; h: number } {
  const within = (v: unknown, usual: number, least: number, most: number) => Math.min(most, Math.max(least, Math.round(figure(v) ?? usual)));
  const x = within(grid.x, 0, 0, 23);
  const w = within(grid.w, kind === 'row' ? 24 : (figure(p.span) ?? 6) * 2, 1, 24);
  return { x, w: Math.min(w, 24 - x), y: within(grid.y, 0, 0, 100_000), h: within(grid.h, kind === 'row' ? 1 : 8, 1, 200) };
}

/** Panels of folded rows come behind their row; dashboards before version 16 have rows of spans. */
function flat(json: Any): Any[] {
  const old = list(json.rows);
  if (!old.length) return list(json.panels).flatMap((p) => [p, ...(p.type === 'row' && p.collapsed === true ? list(p.panels) : [])]);
  let y = 0;
  return old.flatMap((row) => {
    const h = Math.max(3, Math.round((figure(text(row.height).replace('px', '')) ?? 250) / 30));
    const named = row.showTitle === true || row.collapse === true;
    const head: Any[] = named ? [{ type: 'row', title: row.title, collapsed: row.collapse, repeat: row.repeat, gridPos: { x: 0, y, w: 24, h: 1 } }] : [];
    if (named) y += 1;
    let x = 0;
    const panels = list(row.panels).map((p) => {
      const w = Math.min(24, Math.round((figure(p.span) ?? 4) * 2));
      if (x + w > 24) {
        x = 0;
        y += h;
      }
      const placed = { ...p, gridPos: { x, y, w, h } };
      x += w;
      return placed;
    });
    y += h;
    return [...head, ...panels];
  });
}

/** Reads what someone pasted; an error says what is wrong with it. */
export function parse(source: string): Any {
  let value: unknown;
  try {
    value = JSON.parse(source);
  } catch (error) {
    throw new Error(`It is not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  const outer = object(value);
  // As the API of dashboards answers, or as a file of exported resources.
  const json = 'dashboard' in outer ? object(outer.dashboard) : outer;
  if (text(json.apiVersion).startsWith('dashboard.grafana.app') || 'elements' in object(json.spec)) throw new Error('It is a dashboard in the schema v2 of Grafana; export it as “Classic” JSON.');
  if (!Array.isArray(json.panels) && !Array.isArray(json.rows)) throw new Error('It has no panels: this is no dashboard.');
  return json;
}

export function convert(json: Any): Converted {
  const c = new Conversion();
  const variables = c.variables(list(object(json.templating).list));
  const panels = flat(json).flatMap((p, i) => c.panel(p, i) ?? []);
  const taken = new Set<number>();
  // Ids are keys on the page.
  for (const p of panels) {
    while (taken.has(p.id)) p.id += 100_000;
    taken.add(p.id);
  }
  for (const a of list(object(json.annotations).list)) if (a.builtIn !== 1 && a.enable !== false) c.miss(`annotation ${text(a.name) || '?'}`, 'markers come from what Towpath deploys');
  for (const l of list(json.links)) c.miss(`link ${text(l.title) || text(l.url) || '?'}`, 'links to other dashboards');
  const time = object(json.time);
  return {
    dashboard: { title: text(json.title) || 'Untitled', uid: text(json.uid), description: text(json.description), tags: Array.isArray(json.tags) ? json.tags.map(text) : [], from: text(time.from) || 'now-1h', to: text(time.to) || 'now', refresh: text(json.refresh), variables, panels },
    left: c.left,
  };
}
