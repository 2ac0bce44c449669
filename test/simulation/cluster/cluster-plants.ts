/** Bugs to plant in the shells, which no simulation of a core runs. */
import { type Plant, plant } from '../plants.ts'

export const CLUSTER_PLANTS: readonly Plant[] = [
  {
    ...plant(
      'takes what its leader sends for a continuation of its own log',
      'broker/cluster/replica-fetcher.js',
      'else if (fetched.divergingEpoch.endOffset >= 0) {',
      'else if (false) {',
    ),
    from: 2,
  },

  {
    ...plant(
      'forgets changes that were made since a broker decided',
      'broker/cluster/proposal-desk.js',
      'if (baseOffset < restsOn)',
      'if (false)',
    ),
    from: 2,
  },
  plant(
    'answers a consumer whatever epoch it knows',
    'broker/broker.js',
    'if (epoch < 0)',
    'if (true)',
  ),
  {
    // It has to go on asking a leader that it does not know to be another one by now.
    ...plant(
      'counts a follower whatever epoch it knows',
      'replication/fetch-rules.js',
      'if (currentLeaderEpoch >= 0) {',
      'if (false) {',
    ),
    focus: 'reigns',
    from: 7,
  },
  {
    ...plant(
      'takes a machine that was without power for one that has run on',
      'broker/cluster/registration-file.js',
      'const isSameRun = saved.bootId !== null && saved.bootId === bootId();',
      'const isSameRun = true;',
    ),
    focus: 'reigns',
    from: 2,
  },
  {
    ...plant(
      'promises metadata that is not on the disk',
      'broker/start-broker.js',
      'flushMessages: 1,',
      'flushMessages: Infinity,',
    ),
    from: 9,
  },
  {
    ...plant(
      'serves old bytes without a look at their checksums',
      'storage/log-reader.js',
      "if (location.check !== 'offsets' && !",
      'if (false && !',
    ),
    from: 4,
  },
]
