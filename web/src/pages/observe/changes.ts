// What changed when, for the markers of charts: the server's ledger of changes where there is one,
// else the deployments that the environments remember.

import type { Environment } from '../../api/types';
import { actor, deed, short, shaOf } from '../../ui/words';
import type { Span } from './range';

export interface Change { at: number; text: string; href?: string; detail: string; namespace?: string }
interface Listed { at?: number; kind?: string; object?: { kind?: string; namespace?: string; name?: string }; by?: string; commit?: string; release?: string; promotion?: string; words?: string }

// The newest; more of them would hide what they explain.
const MARKERS = 100;

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
  const items = (answer as { changes?: unknown } | null)?.changes;
  if (!Array.isArray(items)) return [];
  return (items as Listed[]).flatMap((c): Change[] => {
    const at = c.at ?? NaN;
    if (!(at >= span.from && at <= span.to)) return [];
    const subject = c.object?.name ?? '';
    const text = c.commit ? `${subject} ${short(c.commit)}`.trim() : `${c.kind ?? 'change'} ${subject}`.trim();
    // A promotion stands in the namespace of its project.
    const project = c.promotion?.split('/')[0];
    return [{ at, text, detail: [c.words || text, c.by ? `by ${actor(c.by)}` : ''].filter(Boolean).join(', '), ...(c.commit && project ? { href: `/p/${project}/c/${c.commit}` } : {}), ...(c.object?.namespace ? { namespace: c.object.namespace } : {}) }];
  }).sort((a, b) => a.at - b.at).slice(-MARKERS);
}

let absent = false;

/** The changes of a time. A server without a ledger is asked once. */
export async function changes(span: Span, environments: Environment[], signal: AbortSignal): Promise<Change[]> {
  if (!absent) {
    const query = new URLSearchParams({ from: String(span.from / 1000), to: String(span.to / 1000) });
    const response = await fetch(`/api/v1/changes?${query}`, { headers: { accept: 'application/json' }, signal }).catch(() => undefined);
    if (response?.ok) return listed(await response.json().catch(() => []), span);
    if (response?.status === 404) absent = true;
  }
  return deployments(environments, span);
}
