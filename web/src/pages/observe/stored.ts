// Dashboards as the cluster keeps them: ConfigMaps with the label `grafana_dashboard: "1"`, one
// JSON file per key.

import { parse } from '../../dashboard/convert';
import type { KubeObject } from '../../api/types';

export interface ConfigMap extends KubeObject { data?: Record<string, string> }
export interface Stored { url: string; title: string; description: string; namespace: string; name: string; key: string; source: string; problem: string }

export const LABEL = 'grafana_dashboard';
// What a ConfigMap may hold, less a little for its names.
export const BYTES_MAX = 1_000_000;

export function found(maps: ConfigMap[]): Stored[] {
  return maps.flatMap((m) => Object.entries(m.data ?? {}).filter(([key]) => key.endsWith('.json')).map(([key, source]): Stored => {
    const { name, namespace = '' } = m.metadata;
    const base = { url: `/observe/dashboards/${namespace}/${name}/${key}`, namespace, name, key, source };
    try {
      const json = parse(source);
      return { ...base, title: typeof json.title === 'string' && json.title ? json.title : key, description: typeof json.description === 'string' ? json.description : '', problem: '' };
    } catch (error) {
      return { ...base, title: key, description: '', problem: error instanceof Error ? error.message : String(error) };
    }
  })).sort((a, b) => a.title.localeCompare(b.title, 'en', { numeric: true }));
}

/** A name that Kubernetes takes, from a title. */
export function nameFrom(title: string): string {
  const name = title.normalize('NFKD').replace(/[\u0300-\u036f]/g, '').toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-+|-+$/g, '').slice(0, 50).replace(/-+$/, '');
  return `dashboard-${name || 'untitled'}`;
}

/** The ConfigMap that keeps a dashboard. */
export function mapOf(namespace: string, name: string, source: string): ConfigMap {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace, labels: { [LABEL]: '1' } }, data: { [`${name.replace(/^dashboard-/, '')}.json`]: source } };
}
