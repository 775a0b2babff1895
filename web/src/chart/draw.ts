// Paints a frame on a canvas. Knows nothing of the document: what it needs is handed in.

import { DASHES, HUES, type Look } from './colours';
import { stack, thin, type Frame, type Line } from './frame';
import { domainOf, logTicks, share, ticks, timeTicks, type Domain } from './scale';
import { format, inBinary } from './units';

export type Kind = 'line' | 'area' | 'stacked' | 'bars' | 'step' | 'points';

export interface Threshold { at: number; colour: string }
export interface Style {
  kind: Kind;
  unit: string;
  decimals?: number | undefined;
  min?: number | undefined;
  max?: number | undefined;
  log?: boolean;
  /** Draws over gaps. */
  bridge?: boolean;
  thresholds?: Threshold[];
}
export interface Palette { dark: boolean; fg: string; muted: string; hair: string; bg: string }
export interface Box { left: number; top: number; width: number; height: number }
export interface Dot { at: number; value: number }

export interface Scene {
  frame: Frame;
  /** Lines that are shown, in the order they are painted. */
  lines: Line[];
  style: Style;
  palette: Palette;
  width: number;
  height: number;
  utc: boolean;
  exemplars: Dot[];
  measure: (text: string) => number;
}

export interface Layout { box: Box; domain: Domain; ticks: { value: number; text: string }[]; stacks: { from: Float64Array; to: Float64Array }[] | undefined }

export const FONT = '11px system-ui, -apple-system, "Segoe UI", "Liberation Sans", sans-serif';

export const hue = (look: Look, dark: boolean): string => HUES[dark ? 'dark' : 'light'][look.hue] ?? '#888';

/** Where everything goes: the domain of the values, its ticks and the room beside them. */
export function layout({ lines, style, width, height, exemplars, measure }: Pick<Scene, 'lines' | 'style' | 'width' | 'height' | 'exemplars' | 'measure'>): Layout {
  const stacks = style.kind === 'stacked' ? stack(lines.map((l) => l.values)) : undefined;
  let low = Infinity;
  let high = -Infinity;
  const take = (v: number) => {
    if (!Number.isFinite(v) || (style.log && v <= 0)) return;
    if (v < low) low = v;
    if (v > high) high = v;
  };
  for (const values of stacks?.map((s) => s.to) ?? lines.map((l) => l.values)) values.forEach(take);
  for (const dot of exemplars) take(dot.value);
  const binary = inBinary(style.unit);
  const fixed = { ...(style.min === undefined ? {} : { min: style.min }), ...(style.max === undefined ? {} : { max: style.max }) };
  let domain = domainOf(low, high, fixed, ['area', 'stacked', 'bars'].includes(style.kind) || low >= 0, binary);
  if (['area', 'stacked', 'bars'].includes(style.kind) && style.min === undefined && domain.min > 0) domain = { ...domain, min: 0 };
  if (style.log) domain = Number.isFinite(low) ? { min: 10 ** Math.floor(Math.log10(low)), max: 10 ** Math.ceil(Math.log10(Math.max(high, low * 10))) } : { min: 1, max: 10 };
  const rows = Math.max(2, Math.floor(height / 44));
  const values = style.log ? logTicks(domain, rows) : ticks(domain, rows, binary);
  const by = Math.max(...values.map(Math.abs), 0);
  const made = values.map((value) => ({ value, text: style.log ? format(value, style.unit, style.decimals) : format(value, style.unit, style.decimals, value === 0 ? 0 : by) }));
  const left = Math.min(width / 3, Math.max(24, ...made.map((t) => measure(t.text))) + 10);
  return { domain, ticks: made, stacks, box: { left, top: 8, width: Math.max(1, width - left - 8), height: Math.max(1, height - 8 - 22) } };
}

export function paint(ctx: CanvasRenderingContext2D, scene: Scene, { box, domain, ticks: marks, stacks }: Layout) {
  const { frame, lines, style, palette, width, height, utc } = scene;
  const first = frame.times[0] ?? 0;
  const last = frame.times.at(-1) ?? 1;
  const step = (frame.times[1] ?? first + 1) - first;
  const x = (at: number) => box.left + (last > first ? (at - first) / (last - first) : 0.5) * box.width;
  const y = (v: number) => box.top + box.height - Math.min(2, Math.max(-1, share(v, domain, style.log))) * box.height;
  ctx.clearRect(0, 0, width, height);
  ctx.font = FONT;
  ctx.lineWidth = 1;

  ctx.textBaseline = 'middle';
  ctx.textAlign = 'right';
  for (const { value, text } of marks) {
    const at = Math.round(y(value)) + 0.5;
    ctx.strokeStyle = palette.hair;
    line(ctx, box.left, at, box.left + box.width, at);
    ctx.fillStyle = palette.muted;
    ctx.fillText(text, box.left - 6, at);
  }
  ctx.textBaseline = 'top';
  ctx.textAlign = 'center';
  for (const { at, text, strong } of timeTicks(first, last, Math.max(2, Math.floor(box.width / 82)), utc)) {
    const px = Math.round(x(at)) + 0.5;
    ctx.strokeStyle = palette.hair;
    line(ctx, px, box.top, px, box.top + box.height + 4);
    ctx.fillStyle = strong ? palette.fg : palette.muted;
    const half = ctx.measureText(text).width / 2;
    if (px + half <= width) ctx.fillText(text, Math.max(box.left + half - 8, px), box.top + box.height + 7);
  }

  ctx.save();
  ctx.beginPath();
  ctx.rect(box.left, box.top - 2, box.width, box.height + 3);
  ctx.clip();
  for (const { at, colour } of style.thresholds ?? []) {
    ctx.strokeStyle = colour;
    ctx.setLineDash([6, 4]);
    line(ctx, box.left, y(at), box.left + box.width, y(at));
  }
  ctx.setLineDash([]);
  const zero = y(style.log ? domain.min : Math.min(domain.max, Math.max(domain.min, 0)));
  lines.forEach((one, index) => {
    const colour = hue(one.look, palette.dark);
    const stacked = stacks?.[index];
    const values = stacked?.to ?? one.values;
    ctx.strokeStyle = colour;
    ctx.fillStyle = colour;
    ctx.lineWidth = 1.5;
    if (style.kind === 'bars') {
      bars(ctx, one.values, frame.times, x, y, zero, Math.max(1, (step / (last - first || 1)) * box.width), index, lines.length);
      return;
    }
    const pieces = runs(values, thin(values, Math.floor(box.width)), style.bridge ?? false);
    if (style.kind === 'area' || style.kind === 'stacked') {
      ctx.globalAlpha = stacked ? 0.35 : 0.14;
      for (const piece of pieces) fillUnder(ctx, piece, values, frame.times, x, y, stacked ? (i) => y(stacked.from[i] ?? 0) : () => zero);
      ctx.globalAlpha = 1;
    }
    ctx.setLineDash(DASHES[one.look.dash] ?? []);
    ctx.lineJoin = 'round';
    for (const piece of pieces) {
      if (style.kind === 'points' || piece.length === 1) {
        for (const i of piece) dot(ctx, x(frame.times[i] ?? 0), y(values[i] ?? 0), 2);
        if (style.kind === 'points') continue;
      }
      ctx.beginPath();
      piece.forEach((i, n) => {
        const px = x(frame.times[i] ?? 0);
        const py = y(values[i] ?? 0);
        if (n === 0) ctx.moveTo(px, py);
        else {
          if (style.kind === 'step') ctx.lineTo(px, y(values[piece[n - 1] ?? 0] ?? 0));
          ctx.lineTo(px, py);
        }
      });
      ctx.stroke();
    }
    ctx.setLineDash([]);
  });
  ctx.fillStyle = palette.bg;
  ctx.strokeStyle = palette.fg;
  ctx.lineWidth = 1.2;
  for (const e of scene.exemplars) diamond(ctx, x(e.at), y(e.value));
  ctx.restore();
}

function line(ctx: CanvasRenderingContext2D, x1: number, y1: number, x2: number, y2: number) {
  ctx.beginPath();
  ctx.moveTo(x1, y1);
  ctx.lineTo(x2, y2);
  ctx.stroke();
}

function dot(ctx: CanvasRenderingContext2D, x: number, y: number, r: number) {
  ctx.beginPath();
  ctx.arc(x, y, r, 0, Math.PI * 2);
  ctx.fill();
}

function diamond(ctx: CanvasRenderingContext2D, x: number, y: number) {
  ctx.beginPath();
  ctx.moveTo(x, y - 4.5);
  ctx.lineTo(x + 4.5, y);
  ctx.lineTo(x, y + 4.5);
  ctx.lineTo(x - 4.5, y);
  ctx.closePath();
  ctx.fill();
  ctx.stroke();
}

/** The indices to draw, cut where values are missing. */
export function runs(values: Float64Array, kept: number[] | undefined, bridge: boolean): number[][] {
  const out: number[][] = [];
  let current: number[] = [];
  const take = (i: number) => {
    if (Number.isFinite(values[i])) current.push(i);
    else if (!bridge && current.length) {
      out.push(current);
      current = [];
    }
  };
  if (kept) kept.forEach(take);
  else for (let i = 0; i < values.length; i++) take(i);
  if (current.length) out.push(current);
  return out;
}

function fillUnder(ctx: CanvasRenderingContext2D, piece: number[], values: Float64Array, times: Float64Array, x: (t: number) => number, y: (v: number) => number, base: (i: number) => number) {
  ctx.beginPath();
  piece.forEach((i, n) => (n ? ctx.lineTo(x(times[i] ?? 0), y(values[i] ?? 0)) : ctx.moveTo(x(times[i] ?? 0), y(values[i] ?? 0))));
  for (const i of piece.toReversed()) ctx.lineTo(x(times[i] ?? 0), base(i));
  ctx.closePath();
  ctx.fill();
}

function bars(ctx: CanvasRenderingContext2D, values: Float64Array, times: Float64Array, x: (t: number) => number, y: (v: number) => number, zero: number, room: number, index: number, of: number) {
  const whole = Math.max(1, room * 0.85);
  const width = Math.max(1, whole / of);
  for (let i = 0; i < values.length; i++) {
    const v = values[i] ?? NaN;
    if (!Number.isFinite(v)) continue;
    const top = y(v);
    ctx.fillRect(x(times[i] ?? 0) - whole / 2 + index * width, Math.min(top, zero), Math.max(1, width - (width > 3 ? 1 : 0)), Math.max(1, Math.abs(zero - top)));
  }
}
