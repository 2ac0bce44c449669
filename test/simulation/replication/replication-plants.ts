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
  {
    ...plant(
      'counts its own log before it is flushed',
      LEADER,
      'let lowest = this.#countedOffset;',
      'let lowest = this.#logEndOffset;',
    ),
    from: 205,
  },

  {
    ...plant(
      'does not wait for a member that it has proposed',
      LEADER,
      'this.#proposed?.has(brokerId) === true ||',
      '',
    ),
    from: 62,
  },

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
  {
    ...plant(
      'lets a follower join that has not reached the watermark',
      LEADER,
      'logEndOffset >= this.#highWatermark &&',
      '',
    ),
    from: 15,
  },
  {
    ...plant(
      'forgets who left the ISR below the minimum',
      RULES,
      'hasAll.includes(id) && !inSyncReplicas.includes(id)',
      'false',
    ),
    from: 24,
  },
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
  {
    // Its request has to come late, after another one.
    ...plant(
      'takes a change of the ISR that rests on an older state',
      'metadata/alter-partition.js',
      'if (partitionEpoch !== partition.partitionEpoch)',
      'if (false)',
    ),
    focus: 'late',
    from: 10,
  },
  {
    // A follower has to lose something and to be back before a proposal of it has come.
    ...plant(
      'takes a member of a registration that is over',
      'metadata/alter-partition.js',
      'isKnown || context.brokerEpochOf(member.brokerId) === member.brokerEpoch',
      'true',
    ),
    from: 62,
    focus: 'late',
  },
  {
    ...plant(
      'names a follower as it is registered by now when it proposes again',
      LEADER,
      'map(([brokerId, brokerEpoch]) => {',
      'map(([brokerId]) => {' +
        ' const brokerEpoch = this.#followers.get(brokerId)?.brokerEpoch ?? -1;',
    ),
    from: 62,
    focus: 'late',
  },
]

/**
 * Not among them, though each was tried:
 *
 *   does not look at a fetch's epoch (fetch-rules.ts)   counts what a follower had before it cut
 *     its log, but only if the fetch comes seconds late, at a leader that was elected again without
 *     having followed the one between (which takes a minimum of all replicas), in the moment in
 *     which the follower has not caught up anew: else the rules of divergence refuse it, and the
 *     broker epoch does where the follower was restarted. Seeds have not come there;
 *     fetch-rules.test.ts has the rule.
 *   keeps the epoch of a leader that registers anew (partition-rules.ts)   changes nothing: who
 *     registers is fenced, so that somebody else leads or nobody, which is a new epoch as well. The
 *     rule stands for whoever calls it with an active broker (partition-rules.test.ts).
 */
