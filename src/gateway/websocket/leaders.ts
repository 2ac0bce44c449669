import type { Broker } from '../../broker/broker.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import type { LeaderHint } from '../../wire/websocket/messages.ts'

/** What a client is told that has asked the wrong broker: whom to ask, and where that is. */
export const HTTP_LISTENER = 'HTTP'

/** Undefined where the error is not about who leads, or nobody does; handle −1: no partition. */
export function leaderHint(
  broker: Broker,
  errorCode: number,
  handle: number,
): LeaderHint | undefined {
  if (errorCode !== ErrorCode.NOT_LEADER_OR_FOLLOWER || handle < 0) return undefined
  const leader = broker.currentLeader(handle)
  if (leader === null || leader.leaderId < 0 || leader.leaderId === broker.nodeId) return undefined
  return [leader.leaderId, leader.leaderEpoch, urlOf(broker, leader.leaderId)]
}

/** Undefined where this broker coordinates the group, or nobody does. */
export function coordinatorHint(
  broker: Broker,
  errorCode: number,
  group: string,
): LeaderHint | undefined {
  if (errorCode !== ErrorCode.NOT_COORDINATOR) return undefined
  const node = broker.groups.coordinatorOf(group)
  return node < 0 || node === broker.nodeId ? undefined : [node, -1, urlOf(broker, node)]
}

/** '' while the broker is not there, or has no such door. */
export function urlOf(broker: Broker, nodeId: number): string {
  const at = broker.node(nodeId, HTTP_LISTENER)
  return at === null || at.port <= 0 ? '' : webSocketUrl(at)
}

/** Of all brokers of a cluster; none of a broker that is alone, whose address its client knows. */
export function nodeUrls(broker: Broker): [number, string][] {
  return broker
    .nodes(HTTP_LISTENER)
    .filter(({ port }) => broker.image.brokers.size > 1 && port > 0)
    .map((at) => [at.nodeId, webSocketUrl(at)])
}

function webSocketUrl({ host, port }: { readonly host: string; readonly port: number }): string {
  return `ws://${host.includes(':') ? `[${host}]` : host}:${port}/ws`
}
