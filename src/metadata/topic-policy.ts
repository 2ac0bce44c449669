/**
 * What the rules of a partition's leader depend on, as its topic has it. Every node must come to
 * the same, and the leader's watermark must count with it too: so only what the metadata holds is
 * asked, the topic's own options and those of all brokers. What one broker was started with, or has
 * set for itself alone, does not count.
 */
import { defaultMinInSyncReplicas, topicOption } from '../config/topic-options.ts'
import type { PartitionPolicy } from './partition-rules.ts'

export interface TopicPolicy {
  /** Null: by the number of replicas. */
  readonly minInSyncReplicas: number | null
  readonly allowsUncleanElection: boolean
}

type Options = ReadonlyMap<string, string>

const NONE: Options = new Map()

/** Which options a policy is made of; a change of others changes none. */
export const POLICY_OPTIONS: ReadonlySet<string> = new Set([
  'min.insync.replicas',
  'unclean.leader.election.enable',
])

/** `cluster`: what is set for all brokers. */
export function topicPolicy(topic: Options, cluster: Options = NONE): TopicPolicy {
  const value = (name: string): unknown => parse(name, topic) ?? parse(name, cluster)
  const min = value('min.insync.replicas')
  return {
    minInSyncReplicas: typeof min === 'number' ? min : null,
    allowsUncleanElection: value('unclean.leader.election.enable') === true,
  }
}

/** Of a topic's partitions that have so many replicas in the end. */
export function partitionPolicy(policy: TopicPolicy, replicationFactor: number): PartitionPolicy {
  return {
    minInSyncReplicas: minInSyncReplicasOf(policy, replicationFactor),
    allowsUncleanElection: policy.allowsUncleanElection,
  }
}

export function minInSyncReplicasOf(policy: TopicPolicy, replicationFactor: number): number {
  return policy.minInSyncReplicas ?? defaultMinInSyncReplicas(replicationFactor)
}

/** Undefined where it is not set, or to a text that the option does not accept any more. */
function parse(name: string, options: Options): unknown {
  const text = options.get(name)
  const parsed = text === undefined ? undefined : topicOption(name)?.option.parse(text.trim())
  return parsed?.ok === true ? parsed.value : undefined
}
