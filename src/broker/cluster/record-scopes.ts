/**
 * What a change of metadata rests on. Whoever decides one has looked at the image as of some
 * offset; the decision stands if nothing that it rests on has changed since. Finer than the whole
 * image, so that a change of one kind does not make those of others decide again. A new topic rests
 * on its name alone: many brokers make topics at the same time.
 */
import type { Uuid } from '../../base/uuid.ts'
import type { MetadataRecord } from '../../metadata/records.ts'
import { collisionKey } from '../../metadata/topic-names.ts'

export type Scope =
  | 'topics'
  | 'partitions'
  | 'brokers'
  | 'producer-ids'
  | 'configs'
  | 'groups'
  | 'features'
  | 'access'

interface Scopes {
  readonly reads: readonly Scope[]
  readonly writes: readonly Scope[]
}

export interface ChangeScopes extends Scopes {
  /** Of new topics, by what they collide in: read and written. */
  readonly names: readonly string[]
}

const NONE: Scopes = { reads: [], writes: [] }
/** Topics that are there. */
const TOPICS: Scopes = { reads: ['topics'], writes: ['topics'] }
/** Who is in sync and who leads depends on who is there, and on the topic being there. */
const PARTITIONS: Scopes = { reads: ['topics', 'partitions', 'brokers'], writes: ['partitions'] }
/** Who of those that stay may lead depends on what is allowed where nobody is in sync. */
const MOVES: Scopes = { reads: [...PARTITIONS.reads, 'configs'], writes: ['partitions'] }
const ACCESS: Scopes = { reads: ['access'], writes: ['access'] }
const BROKERS: Scopes = { reads: ['brokers'], writes: ['brokers', 'partitions'] }

const SCOPES: Readonly<Record<MetadataRecord['type'], Scopes>> = {
  'broker-start': BROKERS,
  topic: NONE,
  partitions: TOPICS,
  config: TOPICS,
  'remove-topic': TOPICS,
  'producer-ids': { reads: ['producer-ids'], writes: ['producer-ids'] },
  'broker-config': { reads: ['configs'], writes: ['configs'] },
  'group-config': { reads: ['groups'], writes: ['groups'] },
  'broker-registered': BROKERS,
  'broker-fenced': BROKERS,
  'broker-unfenced': BROKERS,
  'broker-draining': BROKERS,
  'broker-unregistered': BROKERS,
  'partition-altered': PARTITIONS,
  'leader-elected': PARTITIONS,
  'replicas-failed': MOVES,
  'replicas-placed': PARTITIONS,
  'partition-reassigned': MOVES,
  features: { reads: ['features'], writes: ['features'] },
  acl: ACCESS,
  'remove-acl': ACCESS,
  'client-quota': ACCESS,
}

export function scopesOf(records: readonly MetadataRecord[]): ChangeScopes {
  const reads = new Set<Scope>()
  const writes = new Set<Scope>()
  const names: string[] = []
  const made = new Set<Uuid>()
  for (const record of records) {
    if (record.type === 'topic') {
      names.push(collisionKey(record.name))
      made.add(record.topicId)
    }
    // What comes with a new topic concerns nobody else.
    if ('topicId' in record && made.has(record.topicId)) continue
    const scopes = SCOPES[record.type]
    for (const scope of scopes.reads) reads.add(scope)
    for (const scope of scopes.writes) writes.add(scope)
  }
  return { reads: [...reads], writes: [...writes], names }
}
