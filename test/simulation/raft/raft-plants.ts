/** Bugs to plant in the quorum: each leaves out what a sentence of Raft is there for. */
import { type Plant, plant } from '../plants.ts'

const NODE = 'raft/raft-node.js'
const LEADER = 'raft/leader.js'
const FOLLOWER = 'raft/follower.js'
const STATE = 'raft/raft-state.js'

export const RAFT_PLANTS: readonly Plant[] = [
  {
    name: 'votes twice in an epoch',
    changes: [
      {
        file: NODE,
        find: 'const isFree = votedFor === null || isSameReplica(votedFor, request.from);',
        replace: 'const isFree = true;',
      },
      {
        file: STATE,
        find: 'assert(this.#votedFor === null || isSameReplica(this.#votedFor, candidate));',
        replace: '',
      },
    ],
  },
  plant(
    'votes for whoever asks, however old its log',
    STATE,
    'return lastEpoch > own || (lastEpoch === own && endOffset >= this.log.endOffset);',
    'return true;',
  ),
  plant(
    'compares logs by their length alone',
    STATE,
    'return lastEpoch > own || (lastEpoch === own && endOffset >= this.log.endOffset);',
    'return endOffset >= this.log.endOffset;',
  ),
  {
    ...plant(
      'answers before the log is on the disk',
      FOLLOWER,
      'return Math.min(this.#matchedOffset, this.#state.log.flushedOffset);',
      'return this.#matchedOffset;',
    ),
    from: 95,
  },

  plant(
    'does not look at the epoch before the entries',
    FOLLOWER,
    '|| log.epochBefore(offset) !== previousEpoch',
    '',
  ),
  plant(
    'says that all of its log matches',
    FOLLOWER,
    'this.#matchedOffset = state.log.committedOffset;',
    'this.#matchedOffset = state.log.endOffset;',
  ),
  plant(
    'takes a minority for a majority',
    'raft/voter-set.js',
    'return Math.floor(this.size / 2) + 1;',
    'return Math.max(Math.floor(this.size / 2), 1);',
  ),
  {
    ...plant(
      'changes the voters while a change is under way',
      LEADER,
      'return isFirstOpen || voterHistory.latestEndOffset > log.committedOffset;',
      'return false;',
    ),
    from: 805,
  },

  {
    ...plant(
      'keeps voters of entries that were truncated',
      STATE,
      'this.voterHistory.truncateTo(offset);',
      '',
    ),
    from: 435,
  },
  {
    ...plant(
      'a wiped disk answers for the one that was there before',
      NODE,
      'if (!isSameReplica(message.to, self) || isSameReplica(message.from, self))',
      'if (isSameReplica(message.from, self))',
    ),
    from: 80,
  },

  plant('a leader that reaches nobody stays', LEADER, 'if (!this.#hasQuorum(nowMs))', 'if (false)'),
  {
    ...plant(
      'lets a replica that hears no leader disturb the others',
      NODE,
      'const mayVote = request.epoch >= epoch && (request.isTransfer || !isLed);',
      'const mayVote = request.epoch >= epoch;',
    ),
    from: 70,
  },

  {
    // It takes three leaders with what only some have, and one dies between two messages.
    ...plant(
      'commits what leaders before it have left by counting (§5.4.2)',
      LEADER,
      'if (reached <= log.committedOffset || reached <= this.epochStartOffset)',
      'if (reached <= log.committedOffset)',
    ),
    from: 330,
    focus: 'reigns',
  },
  {
    // The others have to be quick, and all have to lose power before its own disk is done.
    ...plant(
      'counts its own log before it is flushed',
      LEADER,
      '? log.flushedOffset',
      '? log.endOffset',
    ),
    from: 462,
    focus: 'reigns',
  },
  {
    // A voter has to be back while another candidate of the same epoch still asks.
    ...plant(
      'forgets its vote when it dies',
      STATE,
      'quorumState = { epoch: this.#epoch, votedFor: this.#votedFor }',
      'quorumState = { epoch: this.#epoch, votedFor: null }',
    ),
    focus: 'reigns',
  },
]
