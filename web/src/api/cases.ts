// Cases (`GET /api/v1/cases`), as crates/telemetry/src/cases/case.rs describes them: times are
// milliseconds, what is empty may be absent.

import { request } from './http';

export interface Thing { kind: string; namespace?: string; name: string }
export interface Subject extends Thing { environment?: string; project?: string }
export type Verdict = 'suspected' | 'confirmed' | 'refuted';
export interface Suspect { words: string; score: number; verdict: Verdict; by: string; commit: string; release: string }
export interface CaseLine {
  id: string; title: string; severity: string; state: 'open' | 'closed'; openedAt: number; closedAt?: number | null; updatedAt: number; subject: Subject; summary: string;
  firing: number; alerts: number; cause?: Suspect | null;
}
export interface Proof { language: 'promql' | 'logql' | 'kubectl' | 'changes' | (string & {}); text: string }
export interface Evidence { words: string; query?: Proof | null }
export interface LedgerChange { id: string; at: number; kind: string; object: Thing; by?: string; commit?: string; release?: string; promotion?: string; words?: string }
export interface CaseFinding { kind: string; about: Thing; workload: Thing; container?: string; since: number; count?: number; othersWell?: boolean; words: string }
export interface CaseCause { kind: 'change' | 'trouble' | (string & {}); object: Thing; words: string; change?: LedgerChange | null; finding?: CaseFinding | null; score: number; evidence?: Evidence[]; dissent?: string[]; verdict?: Verdict }
export interface CaseAlert { name: string; severity?: string; labels: Record<string, string>; annotations?: Record<string, string>; startsAt: number; endsAt?: number | null; query?: string; value?: number | null; silenced?: boolean }
export interface Intervention { kind: string; at: number; by?: string; words: string; outcome: 'waiting' | 'confirmed' | 'refuted' | (string & {}); outcomeAt?: number | null }
export interface Entry { at: number; kind: string; words: string; object?: Thing | null }
export interface Case {
  id: string; title: string; severity: string; state: 'open' | 'closed'; openedAt: number; closedAt?: number | null; updatedAt: number; subject: Subject; also?: Thing[]; summary: string;
  alerts?: CaseAlert[]; moreAlerts?: number; causes?: CaseCause[]; findings?: CaseFinding[]; changes?: { change: LedgerChange; score: number }[];
  news?: { kind: string; text: string; count: number; at: number; query?: Proof | null }[]; looked?: { step?: unknown; title: string; output: string }[];
  interventions?: Intervention[]; actions?: { kind: string; words: string; command: string }[]; similar?: { id: string; title: string; openedAt: number; closedAt?: number | null; cause: string; confirmed: boolean }[];
  timeline?: Entry[]; unseen?: string[];
}

export const cases = async (state: 'open' | 'closed' | '' = '', limit = 200): Promise<CaseLine[]> =>
  (await request<{ cases?: CaseLine[] }>('GET', `/api/v1/cases?${new URLSearchParams({ ...(state ? { state } : {}), limit: String(limit) })}`)).cases ?? [];

/** Where the server tells which case changed. */
export const CHANGES = '/api/v1/cases/changes';

export const caseOf = (id: string) => request<Case>('GET', `/api/v1/cases/${encodeURIComponent(id)}`);
