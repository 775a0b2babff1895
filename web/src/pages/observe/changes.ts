// What changed when, for the markers of charts: the server's ledger of changes where there is one,
// else the deployments that the environments remember.

import type { Environment } from '../../api/types';
import { deed, short, shaOf } from '../../ui/words';
import type { Span } from './range';

export interface Change { at: number; text: string; href?: string; detail: string; namespace?: string }
interface Listed { at?: string; time?: string; kind?: string; title?: string; commit?: string; project?: string; namespace?: string; by?: string }

/** Deployments in the histories of environments. */
export function deployments(environments: Environment[], span: Span): Change[] {
  return environments.flatMap((e) => (e.status?.history ?? []).flatMap((h): Change[] => {
    const at = Date.parse(h.at);
    if (!(at >= span.from && at <= span.to)) return [];
    return [{ at, text: `${e.spec.stage} ${short(h.sha || shaOf(h.release))}`, href: `/p/${e.metadata.namespace}/c/${h.sha}`, namespace: e.spec.namespace, detail: `${deed(h.kind)} of ${h.release} to ${e.metadata.name}${h.outcome && h.outcome !== 'Succeeded' ? `, ${h.outcome.toLowerCase()}` : ''}` }];
  })).sort((a, b) => a.at - b.at);
}

/** Entries of `GET /api/v1/changes`, read leniently. */
export function listed(answer: unknown, span: Span): Change[] {
  const items = (Array.isArray(answer) ? answer : ((answer as { items?: unknown } | null)?.items ?? [])) as Listed[];
  if (!Array.isArray(items)) return [];
  return items.flatMap((c): Change[] => {
    const at = Date.parse(c.at ?? c.time ?? '');
    if (!(at >= span.from && at <= span.to)) return [];
    const text = [c.kind, c.commit ? short(c.commit) : ''].filter(Boolean).join(' ') || (c.title ?? 'change');
    return [{ at, text, detail: [c.title, c.by].filter(Boolean).join(', ') || text, ...(c.commit && c.project ? { href: `/p/${c.project}/c/${c.commit}` } : {}), ...(c.namespace ? { namespace: c.namespace } : {}) }];
  }).sort((a, b) => a.at - b.at);
}

let absent = false;

/** The changes of a time. A server without a ledger is asked once. */
export async function changes(span: Span, environments: Environment[], signal: AbortSignal): Promise<Change[]> {
  if (!absent) {
    const query = new URLSearchParams({ from: new Date(span.from).toISOString(), to: new Date(span.to).toISOString() });
    const response = await fetch(`/api/v1/changes?${query}`, { headers: { accept: 'application/json' }, signal }).catch(() => undefined);
    if (response?.ok) return listed(await response.json().catch(() => []), span);
    if (response?.status === 404) absent = true;
  }
  return deployments(environments, span);
}
