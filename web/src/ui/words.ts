// Numbers, times and states in words.

export const short = (sha: string) => sha.slice(0, 7);

export function duration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds === 0) return '< 1 s';
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} m ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} m`;
}

export function ago(instant: string | undefined, now: number): string {
  if (!instant) return '';
  const seconds = Math.max(0, Math.round((now - Date.parse(instant)) / 1000));
  if (seconds === 0) return '< 1 s';
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86_400)} d ago`;
}

/** `2026-01-31 14:05:09`, in UTC or in the zone of the browser. */
export function absolute(instant: string, utc: boolean): string {
  const date = new Date(instant);
  if (Number.isNaN(date.getTime())) return instant;
  const moved = utc ? date : new Date(date.getTime() - date.getTimezoneOffset() * 60_000);
  return `${moved.toISOString().slice(0, 19).replace('T', ' ')}${utc ? ' UTC' : ''}`;
}

const two = (n: number) => String(n).padStart(2, '0');

/** `2026-01-31 14:05:09` of a time in milliseconds. */
export function stamp(at: number, utc: boolean, seconds = true): string {
  const d = new Date(utc ? at : at - new Date(at).getTimezoneOffset() * 60_000);
  return `${d.getUTCFullYear()}-${two(d.getUTCMonth() + 1)}-${two(d.getUTCDate())} ${two(d.getUTCHours())}:${two(d.getUTCMinutes())}${seconds ? `:${two(d.getUTCSeconds())}` : ''}`;
}

export const count = (n: number, one: string, many = `${one}s`) => `${n.toLocaleString('en')} ${n === 1 ? one : many}`;

export type Tone = 'ok' | 'failed' | 'warning' | 'running' | 'paused' | 'hand' | 'idle' | 'skipped' | 'unknown' | 'back' | 'past';

const TONES: Record<string, Tone> = {
  Healthy: 'ok', Succeeded: 'ok', Passed: 'ok', Synced: 'ok', Ready: 'ok', Bound: 'ok', Active: 'ok', Completed: 'ok', Available: 'ok', Normal: 'ok', Released: 'ok', Inactive: 'ok', Recording: 'ok', Helped: 'ok', Sent: 'ok', Resolved: 'ok',
  Failed: 'failed', Open: 'failed', Critical: 'failed', Confirmed: 'failed', DidNotHelp: 'failed', Firing: 'failed', Degraded: 'failed', Refused: 'failed', Error: 'failed', CrashLoopBackOff: 'failed', ImagePullBackOff: 'failed', ErrImagePull: 'failed', OOMKilled: 'failed', Lost: 'failed',
  Warning: 'warning', OutOfSync: 'warning', Drifted: 'warning', Missing: 'warning', Held: 'warning', Stopped: 'warning',
  Running: 'running', Progressing: 'running', Deploying: 'running', ContainerCreating: 'running', Terminating: 'running',
  Paused: 'paused', Waiting: 'paused', Suspended: 'paused', Silenced: 'paused', Inhibited: 'paused', Muted: 'paused', WaitingForApproval: 'hand',
  Skipped: 'skipped', Cancelled: 'skipped', Refuted: 'skipped', Superseded: 'skipped', Unknown: 'unknown', Suspected: 'unknown', RolledBack: 'back', Replaced: 'past', Expired: 'past', Closed: 'past',
};

export const tone = (word: string): Tone => TONES[word] ?? 'idle';

// Words of the field where the API's own word says less.
const NAMES: Record<string, string> = { OutOfSync: 'Drifted', Held: 'On hold' };

/** `WaitingForApproval` as `Waiting for approval`. */
export function words(word: string): string {
  if (NAMES[word]) return NAMES[word];
  if (/BackOff|^Err|OOM/.test(word)) return word;
  const spaced = word.replace(/([a-z])(?=[A-Z])/g, '$1 ');
  return spaced.charAt(0) + spaced.slice(1).toLowerCase();
}

const DEEDS: Record<string, string> = {
  deploy: 'Deploy', redeploy: 'Redeploy', promote: 'Promote', rollback: 'Rollback', 'auto-rollback': 'Automatic rollback',
};

/** Who acted: a person, or the policy where a component of the server did. */
export const actor = (by: string) => (!by || by.startsWith('system:towpath:') ? 'the policy' : by);

/** Commit of a release: its name ends in the commit's first digits. */
export const shaOf = (release: string) => release.split('-').at(-1) ?? release;

/** Label of an entry in an environment's history. */
export const deed = (kind: string) => DEEDS[kind] ?? kind;
