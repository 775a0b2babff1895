// What a case says, in words and links: pure, so that every state is tested.

import type { Case, CaseCause, Entry, LedgerChange, Proof, Subject, Thing } from '../../api/cases';
import type { Deployment, Environment } from '../../api/types';
import { shaOf, short } from '../../ui/words';
import { exploreUrl, logsUrl, tracesUrl } from '../observe/panes';

export const iso = (ms: number) => new Date(ms).toISOString();
export const percent = (score: number) => `${Math.round(Math.min(1, Math.max(0, score)) * 100)} %`;

const PLACES: Record<string, [string, string]> = {
  Pod: ['/api/v1', 'pods'], Node: ['/api/v1', 'nodes'], Service: ['/api/v1', 'services'], ConfigMap: ['/api/v1', 'configmaps'], Secret: ['/api/v1', 'secrets'], Namespace: ['/api/v1', 'namespaces'],
  PersistentVolumeClaim: ['/api/v1', 'persistentvolumeclaims'], ResourceQuota: ['/api/v1', 'resourcequotas'],
  Deployment: ['/apis/apps/v1', 'deployments'], StatefulSet: ['/apis/apps/v1', 'statefulsets'], DaemonSet: ['/apis/apps/v1', 'daemonsets'], ReplicaSet: ['/apis/apps/v1', 'replicasets'],
  Job: ['/apis/batch/v1', 'jobs'], CronJob: ['/apis/batch/v1', 'cronjobs'], Ingress: ['/apis/networking.k8s.io/v1', 'ingresses'], NetworkPolicy: ['/apis/networking.k8s.io/v1', 'networkpolicies'],
  Environment: ['/apis/towpath.dev/v1alpha1', 'environments'], Promotion: ['/apis/towpath.dev/v1alpha1', 'promotions'], Release: ['/apis/towpath.dev/v1alpha1', 'releases'],
};

/** `Deployment hello-prd/hello`. */
export const named = ({ kind, namespace, name }: Thing) => `${kind} ${namespace ? `${namespace}/` : ''}${name}`.trim();

/** Where an object is shown; empty where its kind is not known. */
export function objectUrl({ kind, namespace, name }: Thing): string {
  const place = PLACES[kind];
  if (!place || !name) return '';
  const [base, plural] = place;
  return `/r/one?path=${encodeURIComponent(`${base}${namespace ? `/namespaces/${namespace}` : ''}/${plural}/${name}`)}`;
}

/** The commit's page; a promotion stands in the namespace of its project. */
export function commitUrl(change: Pick<LedgerChange, 'commit' | 'promotion'>, subject?: Subject): string {
  const project = change.promotion?.split('/')[0] || subject?.project;
  return change.commit && project ? `/p/${project}/c/${change.commit}` : '';
}

const BEFORE_MS = 1_800_000;
const AFTER_MS = 600_000;

/** The time of a case with a while before and after, as Explore's address holds it. */
export function rangeOf(of: Pick<Case, 'openedAt' | 'closedAt'>, now: number): { from: string; to: string } {
  const end = of.closedAt ? of.closedAt + AFTER_MS : now;
  return { from: String(of.openedAt - BEFORE_MS), to: of.closedAt && end < now ? String(end) : 'now' };
}

/** Where a proof is seen: a page, or a command to type. */
export function proofLink(proof: Proof | null | undefined, range: { from: string; to: string }): { href?: string; command?: string } {
  if (!proof?.text) return {};
  if (proof.language === 'promql') return { href: exploreUrl([proof.text], range) };
  if (proof.language === 'logql') return { href: logsUrl(proof.text, range) };
  if (proof.language === 'traceql') return { href: tracesUrl(proof.text, range) };
  if (proof.language === 'kubectl') return { command: `kubectl ${proof.text}` };
  return {};
}

const KINDS: Record<string, string> = {
  opened: 'Opened', reopened: 'Opened again', closed: 'Closed', alertFired: 'Alert', alertResolved: 'Alert over', alertSilenced: 'Silenced', alertHeard: 'Silence over', change: 'Change', finding: 'Finding', cause: 'Cause', intervention: 'Action', outcome: 'Outcome',
};
export const kindOf = (entry: Entry) => KINDS[entry.kind] ?? entry.kind;
/** The row of the picture that an entry stands in. */
export const laneOf = (entry: Entry): 'changes' | 'alerts' | 'found' => (['change', 'intervention'].includes(entry.kind) ? 'changes' : /^alert|opened|closed/.test(entry.kind) ? 'alerts' : 'found');

export interface Way { environment: Environment; from: string; back: Deployment; title: string }

/** What a rollback would do: only where the suspect is what runs there, and something ran before. */
export function wayBack(cause: CaseCause | undefined, subject: Subject, environments: Environment[]): Way | { why: string } | undefined {
  const change = cause?.change;
  if (!cause || !change || change.kind !== 'deploy' || !change.release) return undefined;
  const environment = environments.find((e) => (subject.environment ? e.metadata.name === subject.environment : e.spec.namespace === change.object.namespace));
  if (!environment) return undefined;
  const { release = '', history = [] } = environment.status ?? {};
  if (release !== change.release) return { why: release ? `${environment.spec.stage} runs ${short(shaOf(release))} now, not ${short(change.commit || shaOf(change.release))}` : `Nothing is known to run in ${environment.spec.stage}` };
  const back = history.find((h) => h.release !== release && h.outcome !== 'Failed');
  if (!back) return { why: `Nothing that was well ran in ${environment.spec.stage} before` };
  return { environment, from: release, back, title: environment.spec.stage };
}

const SEVERITY: Record<string, string> = { critical: 'Critical', page: 'Critical', error: 'Critical', warning: 'Warning', info: 'Info' };
export const severityWord = (severity: string) => SEVERITY[severity] ?? (severity || 'Warning');
