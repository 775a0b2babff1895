// The kinds of the spine, as the API sends them (crates/kit/src/kinds).

export interface Meta {
  name: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  ownerReferences?: { apiVersion: string; kind: string; name: string; uid: string }[];
}

export interface KubeObject {
  apiVersion?: string;
  kind?: string;
  metadata: Meta;
  [field: string]: unknown;
}

export interface Finding {
  severity: 'error' | 'warning';
  rule: string;
  message: string;
  file?: string;
  line?: number;
  column?: number;
  hint?: string;
}

export type Phase = 'Queued' | 'Running' | 'Succeeded' | 'Failed' | 'Cancelled' | 'Skipped';

export interface Step {
  number: number;
  name: string;
  phase: Phase;
  startedAt?: string;
  finishedAt?: string;
  exitCode?: number;
  firstErrorLine?: number;
  annotations?: Finding[];
  logLines: number;
}

export interface Job {
  id: string;
  name: string;
  needs: string[];
  phase: Phase;
  message: string;
  pod?: string;
  startedAt?: string;
  finishedAt?: string;
  steps: Step[];
}

export interface Gate {
  gate: string;
  passed: boolean;
  message: string;
  findings: Finding[];
}

export interface Image {
  name: string;
  tag: string;
  digest: string;
  sbom?: string;
}

export interface Run extends KubeObject {
  spec: {
    repository: string;
    ref: string;
    sha: string;
    event: string;
    workflow: string;
    actor: string;
    attempt: number;
    cancel: boolean;
  };
  status?: {
    phase: Phase;
    workflowName: string;
    attempt: number;
    message: string;
    title: string;
    startedAt?: string;
    finishedAt?: string;
    jobs: Job[];
    findings: Finding[];
    gates: Gate[];
    images: Image[];
  };
}

export interface Release extends KubeObject {
  spec: {
    repository: string;
    sha: string;
    branch: string;
    title: string;
    run: string;
    actor: string;
    images: Image[];
    gates: Gate[];
    hold?: { reason: string; by: string; since: string };
  };
}

export interface Deployment {
  kind: string;
  release: string;
  sha: string;
  revision: string;
  promotion: string;
  by: string;
  reason?: string;
  at: string;
  outcome: string;
}

export interface Environment extends KubeObject {
  spec: {
    repository: string;
    stage: string;
    order: number;
    branch: string;
    path: string;
    namespace: string;
    promotion?: { auto?: boolean; after?: string; approvals?: number; preventSelfApproval?: boolean; autoRollback?: boolean };
    protected?: boolean;
    url?: string;
  };
  status?: {
    release: string;
    sha: string;
    revision: string;
    promotion: string;
    health: string;
    sync: string;
    message: string;
    since?: string;
    history: Deployment[];
  };
}

export interface Promotion extends KubeObject {
  spec: {
    environment: string;
    release: string;
    kind: string;
    by: string;
    reason?: string;
    approvals?: { by: string; at: string; reason?: string }[];
    cancel?: boolean;
  };
  status?: {
    phase: string;
    release: string;
    previous: string;
    revision: string;
    message: string;
    gates: { name: string; answer: string; message: string }[];
    startedAt?: string;
    finishedAt?: string;
    evidence?: string[];
  };
}

export interface Repository extends KubeObject {
  spec: { defaultBranch: string; description?: string };
  status?: { cloneUrl: string; refs: Record<string, { sha: string; handled: number }> };
}
