import type { BrokerRegistration } from '../metadata/broker-registration.ts'
import type { MetadataImage } from '../metadata/image.ts'

/**
 * The brokers of the cluster as the clients of one listener reach them. A broker that has no such
 * listener is none for them. A broker that is alone has registered no endpoints: nobody but itself
 * has to find it.
 */
export interface ClusterNode {
  readonly nodeId: number
  readonly host: string
  readonly port: number
  readonly rack: string | null
  readonly isFenced: boolean
}

export interface ClusterNodesParts {
  readonly nodeId: number
  readonly image: MetadataImage
  /** Of this broker, where it has registered none. */
  endpoint(listenerName: string): { readonly host: string; readonly port: number }
  readonly rack: string | null
}

/** By ascending id. The fenced ones as well where they are asked for. */
export function clusterNodes(
  parts: ClusterNodesParts,
  listenerName: string,
  withFenced = false,
): ClusterNode[] {
  const nodes: ClusterNode[] = []
  for (const registration of parts.image.brokers.values()) {
    if (registration.isFenced && !withFenced) continue
    const node = reached(parts, registration, listenerName)
    if (node !== null) nodes.push(node)
  }
  return nodes.sort((a, b) => a.nodeId - b.nodeId)
}

/** Null for one that is not registered, is fenced, or has no such listener. */
export function clusterNode(
  parts: ClusterNodesParts,
  nodeId: number,
  listenerName: string,
): ClusterNode | null {
  const registration = parts.image.brokers.get(nodeId)
  if (registration === undefined || registration.isFenced) return null
  return reached(parts, registration, listenerName)
}

function reached(
  parts: ClusterNodesParts,
  { id, endpoints, rack, isFenced }: BrokerRegistration,
  listenerName: string,
): ClusterNode | null {
  const isAlone = id === parts.nodeId && endpoints.length === 0
  // Doors without a listener of Kafka's are told the first one.
  const endpoint = isAlone
    ? parts.endpoint(listenerName)
    : listenerName === ''
      ? endpoints[0]
      : endpoints.find(({ listener }) => listener === listenerName)
  if (endpoint === undefined) return null
  const { host, port } = endpoint
  return { nodeId: id, host, port, rack: isAlone ? parts.rack : rack, isFenced }
}
