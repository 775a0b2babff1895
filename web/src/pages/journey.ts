// What a commit's objects say about its way: pure, so that every state is tested.

import type { Environment, Promotion, Release, Run } from '../api/types';

export interface Station {
  id: string;
  name: string;
  word: string;
  detail: string;
  startedAt?: string | undefined;
  finishedAt?: string | undefined;
  /** Median of the last 20 that ended well, in milliseconds. */
  usual?: number | undefined;
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
    const history = status?.history ?? [];
    const back = history.find((h, i) => h.kind.endsWith('rollback') && history[i + 1]?.release === release?.metadata.name);
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

const USUAL_OF = 20;
// Fewer than this say nothing about what is usual.
const USUAL_MIN = 3;

interface Span { startedAt?: string | undefined; finishedAt?: string | undefined }

/** Median duration of the newest spans that have both ends. */
export function median(spans: Span[]): number | undefined {
  const ended = spans
    .flatMap((s) => (s.startedAt && s.finishedAt ? [{ end: s.finishedAt, took: Date.parse(s.finishedAt) - Date.parse(s.startedAt) }] : []))
    .sort((a, b) => b.end.localeCompare(a.end))
    .slice(0, USUAL_OF)
    .map((s) => s.took)
    .sort((a, b) => a - b);
  if (ended.length < USUAL_MIN) return undefined;
  const middle = ended.length >> 1;
  return ended.length % 2 ? ended[middle] : ((ended[middle - 1] ?? 0) + (ended[middle] ?? 0)) / 2;
}

/** Says beside each station how long it usually takes. */
export function withUsual(all: Station[], run: Run | undefined, runs: Run[], environments: Environment[], promotions: Promotion[]): Station[] {
  const alike = runs.filter((r) => r.spec.repository === run?.spec.repository && r.spec.workflow === run.spec.workflow && r.status?.phase === 'Succeeded');
  return all.map((station) => {
    if (station.id === 'checks') return { ...station, usual: median(alike.map((r) => r.status ?? {})) };
    const environment = environments.find((e) => e.spec.stage === station.id);
    if (!environment) return station;
    return { ...station, usual: median(promotions.filter((p) => p.spec.environment === environment.metadata.name && p.status?.phase === 'Succeeded').map((p) => p.status ?? {})) };
  });
}

export interface Happening {
  at: string;
  word: string;
  text: string;
  who: string;
}

/** Everything that happened to a commit, newest first. */
export function timeline(runs: Run[], release: Release | undefined, promotions: Promotion[]): Happening[] {
  const all: Happening[] = [];
  const add = (at: string | undefined, word: string, text: string, who = '') => at && all.push({ at, word, text, who: who.startsWith('system:towpath:') ? 'the policy' : who });
  for (const run of runs) {
    const name = run.status?.workflowName || run.spec.workflow;
    add(run.metadata.creationTimestamp, 'Ready', `Pushed to ${run.spec.ref.replace('refs/heads/', '')}`, run.spec.actor);
    add(run.status?.startedAt, 'Running', `${name} started${run.spec.attempt > 1 ? `, attempt ${run.spec.attempt}` : ''}`);
    add(run.status?.finishedAt, run.status?.phase ?? '', `${name} ended${run.status?.message ? `: ${run.status.message}` : ''}`);
  }
  if (release) {
    add(release.metadata.creationTimestamp, 'Ready', `Release ${release.metadata.name} made`);
    if (release.spec.hold) add(release.spec.hold.since, 'Held', `Put on hold: ${release.spec.hold.reason}`, release.spec.hold.by);
    for (const p of promotions) {
      if ((p.status?.release || p.spec.release) !== release.metadata.name) continue;
      const to = p.spec.environment;
      add(p.metadata.creationTimestamp, 'Waiting', `${p.spec.kind} to ${to} asked for${p.spec.reason ? `: ${p.spec.reason}` : ''}`, p.spec.by);
      for (const a of p.spec.approvals ?? []) add(a.at, 'Passed', `${p.spec.kind} to ${to} approved${a.reason ? `: ${a.reason}` : ''}`, a.by);
      add(p.status?.finishedAt, p.status?.phase ?? '', `${p.spec.kind} to ${to}: ${p.status?.message || 'ended'}`);
    }
  }
  return all.sort((a, b) => b.at.localeCompare(a.at));
}

/** The environment that a release has just broken: rolling back is what moves on. */
export function toRollBack(release: Release, environments: Environment[], promotions: Promotion[]): Environment | undefined {
  return environments.find((e) => {
    // There must be something to go back to.
    const before = e.status?.history.some((h) => h.release !== release.metadata.name && h.outcome !== 'Failed');
    if (e.status?.release !== release.metadata.name || !before) return false;
    return e.status.health === 'Degraded' || promotionOf(promotions, release, e)?.status?.phase === 'Failed';
  });
}
