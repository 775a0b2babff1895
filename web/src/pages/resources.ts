// Kinds from discovery, and one line about an object's state.

import type { KubeObject } from '../api/types';

export interface Kind {
  group: string;
  kind: string;
  plural: string;
  namespaced: boolean;
  /** `/api/v1` or `/apis/<group>/<version>`. */
  base: string;
}

type Ask = <T>(method: string, path: string) => Promise<T>;
interface ApiResource { name: string; kind: string; namespaced: boolean; verbs: string[] }
interface Groups { groups: { name: string; preferredVersion: { groupVersion: string } }[] }

export async function kinds(request: Ask): Promise<Kind[]> {
  const groups = await request<Groups>('GET', '/k8s/apis');
  const bases = ['/api/v1', ...groups.groups.map((g) => `/apis/${g.preferredVersion.groupVersion}`)];
  const lists = await Promise.all(
    bases.map(async (base) => {
      const found = await request<{ resources: ApiResource[] }>('GET', `/k8s${base}`);
      const group = base === '/api/v1' ? '' : (base.split('/')[2] ?? '');
      return found.resources
        .filter((r) => !r.name.includes('/') && r.verbs.includes('list') && r.verbs.includes('watch'))
        .map((r): Kind => ({ group, kind: r.kind, plural: r.name, namespaced: r.namespaced, base }));
    }),
  );
  return lists.flat().sort((a, b) => a.kind.localeCompare(b.kind));
}

type Any = Record<string, any>;

export function summary(kind: string, object: KubeObject): { word: string; text: string } {
  const status = (object.status ?? {}) as Any;
  const spec = (object.spec ?? {}) as Any;
  if (object.metadata.deletionTimestamp) return { word: 'Progressing', text: 'being deleted' };
  if (kind === 'Pod') {
    const containers = (status.containerStatuses ?? []) as Any[];
    const waiting = containers.map((c) => c.state?.waiting?.reason ?? c.state?.terminated?.reason).find((r) => r && r !== 'Completed');
    const ready = containers.filter((c) => c.ready).length;
    const restarts = containers.reduce((sum, c) => sum + (c.restartCount ?? 0), 0);
    const word = waiting ?? (status.phase === 'Running' && ready === containers.length ? 'Ready' : status.phase);
    return { word: word ?? 'Unknown', text: `${ready}/${(spec.containers ?? []).length} ready${restarts ? `, ${restarts} restarts` : ''}` };
  }
  if (['Deployment', 'ReplicaSet', 'StatefulSet'].includes(kind)) {
    const want = spec.replicas ?? 1;
    const have = status.readyReplicas ?? 0;
    return { word: have >= want ? 'Available' : 'Progressing', text: `${have}/${want} ready` };
  }
  if (kind === 'Service') return { word: '', text: `${spec.type ?? 'ClusterIP'} ${spec.clusterIP ?? ''}` };
  if (status.phase) return { word: String(status.phase), text: '' };
  if (status.health?.status) return { word: status.health.status, text: status.sync?.status ?? '' };
  const conditions = (status.conditions ?? []) as Any[];
  const ready = conditions.find((c) => c.type === 'Ready' || c.type === 'Available' || c.type === 'Complete');
  return ready ? { word: ready.status === 'True' ? 'Ready' : 'Progressing', text: ready.message ?? '' } : { word: '', text: '' };
}

interface Placed { metadata: { namespace?: string }; spec: { namespace: string } }

/** Namespace to the project whose environments deploy there; a project is its own. */
export function projectsOf(environments: Placed[]): Map<string, string> {
  const found = new Map<string, string>();
  for (const e of environments) {
    const project = e.metadata.namespace ?? '';
    found.set(project, project);
    found.set(e.spec.namespace, project);
  }
  return found;
}

/** Digest of an image to the commit that built it. */
export const builtBy = (releases: { spec: { sha: string; images: { digest: string }[] } }[]) => new Map(releases.flatMap((r) => r.spec.images.map((i): [string, string] => [i.digest, r.spec.sha])));

function running(object: KubeObject, built: Map<string, string>): string | undefined {
  const spec = object.spec as Any | undefined;
  const containers = (spec?.containers ?? spec?.template?.spec?.containers ?? []) as { image?: string }[];
  return containers.map((c) => built.get(c.image?.split('@')[1] ?? '')).find(Boolean);
}

/** The commit behind an object: from the labels of the spine, else from the image it runs. */
export function commitOf(object: KubeObject, projects: Map<string, string>, built = new Map<string, string>()): { sha: string; href: string } {
  const name = 'towpath.dev/commit';
  const spec = object.spec as Any | undefined;
  const own = object.apiVersion?.startsWith('towpath.dev/') ? spec?.sha : undefined;
  const full = String(object.metadata.labels?.[name] ?? object.metadata.annotations?.[name] ?? own ?? running(object, built) ?? '');
  const project = projects.get(object.metadata.namespace ?? '') ?? (own ? object.metadata.namespace : undefined);
  return { sha: full.slice(0, 7), href: full && project ? `/p/${project}/c/${full}` : '' };
}

const PLURALS: Record<string, string> = { Deployment: 'deployments', ReplicaSet: 'replicasets', StatefulSet: 'statefulsets', DaemonSet: 'daemonsets', Job: 'jobs', CronJob: 'cronjobs', Run: 'runs', Environment: 'environments', Release: 'releases', Application: 'applications', Service: 'services', Pod: 'pods', Repository: 'repositories' };

/** API path of an owner; empty where its plural is not known. */
export function ownerPath(owner: { apiVersion: string; kind: string; name: string }, namespace: string): string {
  const plural = PLURALS[owner.kind];
  const base = owner.apiVersion.includes('/') ? `/apis/${owner.apiVersion}` : `/api/${owner.apiVersion}`;
  return plural && namespace ? `${base}/namespaces/${namespace}/${plural}/${owner.name}` : '';
}
