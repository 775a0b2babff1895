// A dashboard as it is drawn here, whatever it was written for.

import type { Kind } from '../chart/draw';

export type Tone = 'ok' | 'failed' | 'warning' | 'running' | 'paused' | 'plain';
export type Calc = 'last' | 'lastNotNull' | 'first' | 'mean' | 'min' | 'max' | 'sum' | 'count' | 'range' | 'diff';
export interface Step { at: number; tone: Tone }
export interface Mapping { match: (value: number, text: string) => boolean; text?: string; tone?: Tone }
export interface Override { name?: string; pattern?: RegExp; ref?: string; unit?: string; decimals?: number; label?: string; hidden?: boolean }
export interface Target { ref: string; expr: string; legend: string; instant: boolean; table: boolean; signal: 'metrics' | 'logs' }
export type PanelKind = 'timeseries' | 'stat' | 'gauge' | 'bargauge' | 'barchart' | 'table' | 'logs' | 'heatmap' | 'text' | 'row';

export interface Panel {
  id: number;
  kind: PanelKind;
  title: string;
  description: string;
  /** In a grid of 24 columns; rows of 30 pixels. */
  x: number;
  y: number;
  w: number;
  h: number;
  targets: Target[];
  unit: string;
  decimals?: number | undefined;
  min?: number | undefined;
  max?: number | undefined;
  steps: Step[];
  percentage: boolean;
  mappings: Mapping[];
  overrides: Override[];
  draw: Kind;
  bridge: boolean;
  log: boolean;
  thresholdLines: boolean;
  legend: 'full' | 'brief' | 'none';
  calc: Calc;
  text: string;
  html: boolean;
  /** Variable for whose every value the panel is drawn once. */
  repeat: string;
  /** Columns of a table: renamed, left out, their order. */
  columns: { rename: Record<string, string>; without: string[]; order: Record<string, number> };
  minStep: string;
  collapsed: boolean;
}

export type VariableKind = 'query' | 'custom' | 'interval' | 'constant' | 'datasource' | 'textbox';
export interface Variable {
  name: string;
  label: string;
  kind: VariableKind;
  query: string;
  regex: string;
  /** Text and value. */
  options: { text: string; value: string }[];
  current: string[];
  multi: boolean;
  all: boolean;
  allValue: string;
  hidden: boolean;
  sort: number;
}

export interface Dashboard { title: string; uid: string; description: string; tags: string[]; from: string; to: string; refresh: string; variables: Variable[]; panels: Panel[] }
export interface Converted { dashboard: Dashboard; /** What could not be taken, each with its place. */ left: string[] }
export const ALL = '$__all';
