/** `millrace cluster quorum`: who votes about the metadata, and who is to. */
import { Command } from 'commander'
import type { KafkaCluster, QuorumView, QuorumVoter } from '../client/kafka-cluster.ts'
import { nodeId, withCluster } from './cluster-command.ts'
import { CommandError } from './command-error.ts'
import { type Shared, shared } from './kafka-command.ts'
import { type Cell, formatJson, formatTable, type Streams } from './output.ts'

export function quorumCommand(streams: Streams): Command {
  return shared(new Command('quorum'))
    .description('show who votes about the metadata; add and remove voters')
    .action(async (options: Shared) => {
      await withCluster(options, async (cluster) => {
        const quorum = await cluster.quorum()
        streams.out(options.format === 'json' ? formatJson(quorum) : formatQuorum(quorum))
      })
    })
    .addCommand(changeCommand(streams, 'add'))
    .addCommand(changeCommand(streams, 'remove'))
    .addHelpText(
      'after',
      `
Examples:
  $ millrace cluster quorum
  $ millrace cluster quorum add 4       # node 4 runs and follows: it votes from now on
  $ millrace cluster quorum remove 1

Half of an even number of voters is no majority: have three or five. Nodes find the quorum by their
--controllers: give them the new list at their next start.`,
    )
}

function formatQuorum(quorum: QuorumView): string {
  const { leaderId, leaderEpoch, highWatermark, voters, observers } = quorum
  const rowOf =
    (role: string) =>
    ({ id, directoryId, logEndOffset }: QuorumVoter): Cell[] => {
      const isKnown = logEndOffset >= 0
      const lag = isKnown ? Math.max(0, highWatermark - logEndOffset) : null
      const name = id === leaderId ? 'leader' : role
      return [id, name, isKnown ? logEndOffset : null, lag, directoryId]
    }
  return [
    `Leader:         ${leaderId < 0 ? '(nobody)' : leaderId}`,
    `Epoch:          ${leaderEpoch}`,
    `High watermark: ${highWatermark}`,
    '',
    formatTable(
      ['NODE', 'ROLE', 'END', 'LAG', 'DIRECTORY'],
      [...voters.map(rowOf('voter')), ...observers.map(rowOf('observer'))],
    ),
  ].join('\n')
}

function changeCommand(streams: Streams, verb: 'add' | 'remove'): Command {
  const isAdded = verb === 'add'
  return shared(new Command(verb))
    .description(isAdded ? 'let a node vote that follows the metadata' : 'let a node vote no more')
    .argument('<id>', 'the node', nodeId)
    .action(async (id: number, _options: Shared, command: Command) => {
      // The command above has the same options, and takes those that stand before the verb.
      const options = command.optsWithGlobals<Shared>()
      await withCluster(options, async (cluster) => {
        const before = await cluster.quorum()
        await (isAdded ? add(cluster, before, id) : remove(cluster, before, id))
        const after = await cluster.quorum()
        if (options.format === 'json') streams.out(formatJson(after))
        else streams.out(`Voters: ${after.voters.map((one) => one.id).join(', ')}`)
      })
    })
}

async function add(cluster: KafkaCluster, quorum: QuorumView, id: number): Promise<void> {
  if (quorum.voters.some((one) => one.id === id)) {
    throw new CommandError(`node ${id} is a voter already`)
  }
  const observer = quorum.observers.find((one) => one.id === id)
  if (observer === undefined) {
    throw new CommandError(`node ${id} does not follow the metadata: start it first`)
  }
  await cluster.addVoter(observer)
}

async function remove(cluster: KafkaCluster, quorum: QuorumView, id: number): Promise<void> {
  const voter = quorum.voters.find((one) => one.id === id)
  if (voter === undefined) throw new CommandError(`node ${id} is no voter`)
  await cluster.removeVoter(voter)
}
