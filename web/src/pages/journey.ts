// What a commit's objects say about its way: pure, so that every state is tested.

import type { Environment, Promotion, Release, Run } from '../api/types';

export interface Station {
  id: string;
  name: string;
  word: string;
  detail: string;
  startedAt?: string | undefined;
  finishedAt?: string | undefined;
}

export const newestFirst = <T extends { metadata: { creationTimestamp?: string } }>(items: T[]): T[] =>
  [...items].sort((a, b) => (b.metadata.creationTimestamp ?? '').localeCompare(a.metadata.creationTimestamp ?? ''));

export function releaseOf(releases: Release[], sha: string): Release | undefined {
  return releases.find((r) => r.spec.sha === sha);
}

/** The newest promotion of a release into an environment. */
export function promotionOf(promotions: Promotion[], release: Release | undefined, environment: Environment): Promotion | undefined {
  if (!release) return undefined;
  return newestFirst(promotions).find(
    (p) => p.spec.environment === environment.metadata.name && (p.status?.release || p.spec.release) === release.metadata.name,
  );
}

function stage(environment: Environment, release: Release | undefined, promotions: Promotion[]): Station {
  const status = environment.status;
  const base = { id: environment.spec.stage, name: environment.spec.stage };
  const promotion = promotionOf(promotions, release, environment);
  const times = { startedAt: promotion?.status?.startedAt, finishedAt: promotion?.status?.finishedAt };
  if (release && status?.release === release.metadata.name) {
    const word = status.sync === 'OutOfSync' && status.health === 'Healthy' ? 'Drifted' : status.health || 'Progressing';
    return { ...base, ...times, word, detail: status.message };
  }
  if (!promotion) return { ...base, word: 'NotYet', detail: release?.spec.hold ? `on hold: ${release.spec.hold.reason}` : '' };
  const phase = promotion.status?.phase ?? 'Waiting';
  // It ran here once and another release took its place.
  if (phase === 'Succeeded') {
    const back = status?.history.find((h) => h.kind.endsWith('rollback') && h.at > (promotion.status?.finishedAt ?? ''));
    return { ...base, ...times, word: back ? 'RolledBack' : 'Replaced', detail: back?.reason ?? '' };
  }
  return { ...base, ...times, word: phase, detail: promotion.status?.message ?? '' };
}

/** Source → Checks → Image → each environment, for one commit. */
export function stations(run: Run | undefined, release: Release | undefined, environments: Environment[], promotions: Promotion[]): Station[] {
  const status = run?.status;
  const failedGate = status?.gates.find((g) => !g.passed);
  const image = release?.spec.images[0] ?? status?.images[0];
  const checks: Station = {
    id: 'checks',
    name: 'Checks',
    word: status?.phase ?? (run ? 'Queued' : 'NotYet'),
    detail: failedGate ? `gate ${failedGate.gate}: ${failedGate.message}` : (status?.message ?? ''),
    startedAt: status?.startedAt,
    finishedAt: status?.finishedAt,
  };
  const made: Station = {
    id: 'image',
    name: 'Image',
    word: release?.spec.hold ? 'Held' : image ? 'Ready' : 'NotYet',
    detail: release?.spec.hold ? release.spec.hold.reason : (image?.digest.slice(7, 19) ?? ''),
  };
  const source: Station = { id: 'source', name: 'Source', word: 'Ready', detail: run?.spec.actor ? `pushed by ${run.spec.actor}` : '' };
  const ordered = [...environments].sort((a, b) => a.spec.order - b.spec.order);
  return [source, checks, made, ...ordered.map((e) => stage(e, release, promotions))];
}

const WORST = ['Failed', 'Refused', 'Degraded', 'RolledBack', 'Held', 'WaitingForApproval', 'Drifted', 'Running', 'Progressing', 'Deploying', 'Waiting'];

/** The station that matters most, for one sentence. */
export function worst(all: Station[]): Station | undefined {
  for (const word of WORST) {
    const found = all.find((s) => s.word === word);
    if (found) return found;
  }
  return undefined;
}

/** The stage after the last one that runs the release, and why it may not take it. */
export function nextStage(release: Release | undefined, environments: Environment[]): { environment: Environment; why: string } | undefined {
  if (!release) return undefined;
  const ordered = [...environments].sort((a, b) => a.spec.order - b.spec.order);
  const at = ordered.findLastIndex((e) => e.status?.release === release.metadata.name);
  const environment = ordered[at + 1];
  if (!environment) return undefined;
  const before = ordered[at];
  let why = '';
  if (release.spec.hold) why = `The release is on hold: ${release.spec.hold.reason}`;
  else if (environment.spec.promotion?.after && before?.spec.stage !== environment.spec.promotion.after) why = `It must run in ${environment.spec.promotion.after} first`;
  else if (before && before.status?.health !== 'Healthy') why = `It is not healthy in ${before.spec.stage} yet`;
  return { environment, why };
}
