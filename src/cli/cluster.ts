/** `millrace cluster …`: several brokers as one. */
import { Command } from 'commander'
import { decommissionCommand, drainCommand } from './cluster-leave.ts'
import { quorumCommand } from './cluster-quorum.ts'
import { reassignCommand, rebalanceCommand } from './cluster-reassign.ts'
import { healthCommand, statusCommand } from './cluster-status.ts'
import { upCommand } from './cluster-up.ts'
import type { Streams } from './output.ts'

export function clusterCommand(streams: Streams): Command {
  return new Command('cluster')
    .description('start a local cluster; see how one is; move what its brokers have')
    .addCommand(upCommand(streams))
    .addCommand(statusCommand(streams))
    .addCommand(healthCommand(streams))
    .addCommand(quorumCommand(streams))
    .addCommand(rebalanceCommand(streams))
    .addCommand(reassignCommand(streams))
    .addCommand(drainCommand(streams))
    .addCommand(decommissionCommand(streams))
    .addHelpText(
      'after',
      `
Examples:
  $ millrace cluster up --nodes 3                 # three brokers on this machine
  $ millrace cluster status
  $ millrace cluster health --wait 60
  $ millrace cluster rebalance                    # after a broker has been added: it is empty
  $ millrace cluster decommission 3               # before a broker goes for good
  $ millrace cluster drain 2                      # before it is worked on

A broker joins a cluster when it starts with the cluster's secret and its controllers:
  $ MILLRACE_CLUSTER_SECRET=… millrace start --node-id 4 --cluster 127.0.0.1:19095 \\
      --controllers 1@127.0.0.1:19092,2@127.0.0.1:19093,3@127.0.0.1:19094 \\
      --kafka 127.0.0.1:9095 --http 127.0.0.1:8083 --data-dir node-4`,
    )
}
