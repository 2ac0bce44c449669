/** Bugs to plant in replication: each leaves out a rule without which data was lost once. */
import { type Plant, plant } from '../plants.ts'

const LEADER = 'replication/partition-leader.js'
const FETCH = 'replication/fetch-rules.js'
const RULES = 'metadata/partition-rules.js'

export const REPLICATION_PLANTS: readonly Plant[] = [
  plant(
    'takes a follower’s log for a prefix of its own',
    FETCH,
    'if (lastFetchedEpoch >= 0)',
    'if (false)',
  ),
  plant(
    'acknowledges before the others have it',
    LEADER,
    'lowest = Math.min(lowest, logEndOffset);',
    ';',
  ),
  plant(
    'counts its own log before it is flushed',
    LEADER,
    'let lowest = this.#countedOffset;',
    'let lowest = this.#logEndOffset;',
  ),
  plant(
    'does not wait for a member that it has proposed',
    LEADER,
    'this.#proposed?.has(brokerId) === true ||',
    '',
  ),
  plant(
    'counts without those that it wants out',
    LEADER,
    'this.#inSyncReplicas.has(brokerId) ||',
    '(this.#inSyncReplicas.has(brokerId) && this.#proposed?.has(brokerId) !== false) ||',
  ),
  plant(
    'moves the watermark below the minimum of replicas',
    LEADER,
    'if (!this.mayTakeAll)\n            return;',
    '',
  ),
  plant(
    'lets a follower join that has not reached the watermark',
    LEADER,
    'logEndOffset >= this.#highWatermark &&',
    '',
  ),
  plant(
    'forgets who left the ISR below the minimum',
    RULES,
    'hasAll.includes(id) && !inSyncReplicas.includes(id)',
    'false',
  ),
  plant(
    'keeps a replica in sync that may have lost what it had',
    RULES,
    'if (!inSyncReplicas.includes(brokerId) && !eligibleReplicas.includes(brokerId))',
    'if (true)',
  ),
  plant(
    'elects whoever is there',
    RULES,
    'const eligible = find(eligibleReplicas);',
    'const eligible = find(replicas);',
  ),
]
