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
    from: 8,
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
]
