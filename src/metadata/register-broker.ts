/**
 * Whether a broker process may be a member of the cluster, and as what. Pure; decided on the image.
 *
 *   INCONSISTENT_CLUSTER_ID         its directories belong to another cluster
 *   DUPLICATE_BROKER_REGISTRATION   a process that is alive has this id
 *   INVALID_REGISTRATION            what it says of itself cannot be, or is too much
 */
import { isUuid, type Uuid, ZERO_UUID } from '../base/uuid.ts'
import { ErrorCode } from '../errors/error-code.ts'
import type { BrokerRegistration } from './broker-registration.ts'
import type { MetadataImage } from './image.ts'
import { type BrokerRegisteredRecord, type Endpoint, RULE_VERSION } from './records.ts'

export interface RegisterRequest {
  readonly clusterId: Uuid
  readonly brokerId: number
  /** Names the process; the same in each attempt. */
  readonly incarnationId: Uuid
  /**
   * A broker epoch since whose registration nothing that its logs held can have been lost: it was
   * stopped in order, or only its process died and the machine has run on (the same boot), and all
   * of its log directories are there. −1 when it cannot tell (KIP-966). It must be the epoch that a
   * process wrote down when it was registered, together with the boot that it ran in: one that
   * finds a loss, and dies before it is registered, must not leave a claim behind.
   */
  readonly previousBrokerEpoch: number
  /** Of the listener for other brokers. */
  readonly host: string
  readonly port: number
  readonly endpoints: readonly Endpoint[]
  readonly rack: string | null
  readonly directories: readonly Uuid[]
}

/** Each of these is in the memory of every node. */
export const ENDPOINTS_MAX = 32
export const DIRECTORIES_MAX = 128
const TEXT_MAX = 255

/** The record that makes it a member; the epoch that it has already; or the code of the refusal. */
export function registerBroker(
  image: MetadataImage,
  request: RegisterRequest,
  context: {
    readonly clusterId: Uuid
    readonly isAlive: (broker: BrokerRegistration) => boolean
  },
): BrokerRegisteredRecord | number | { readonly refusal: ErrorCode } {
  if (request.clusterId !== context.clusterId) {
    return { refusal: ErrorCode.INCONSISTENT_CLUSTER_ID }
  }
  if (!isSound(request) || sharesDirectory(image, request)) {
    return { refusal: ErrorCode.INVALID_REGISTRATION }
  }
  const known = image.brokers.get(request.brokerId)
  // The answer to an attempt before this one got lost.
  if (known?.incarnationId === request.incarnationId) return known.epoch
  if (known !== undefined && !hasEnded(known) && context.isAlive(known)) {
    return { refusal: ErrorCode.DUPLICATE_BROKER_REGISTRATION }
  }
  const { clusterId: _, previousBrokerEpoch: __, ...described } = request
  return {
    type: 'broker-registered',
    ...described,
    brokerEpoch: image.nextBrokerEpoch,
    isUnclean: known !== undefined && !isWhole(known, request),
    ruleVersion: RULE_VERSION,
  }
}

/**
 * Whether it has what it had when it was registered last. What was not lost since an epoch before
 * was not lost since the last one: a process that died before it learnt its own epoch knows only
 * the one before. Of a broker that is new nobody expects anything. One whose log directories are
 * others than before may have lost something, whatever it says of the rest: a disk was replaced, or
 * is not mounted, or is again and brings what was there long ago in the place of what is newer.
 */
function isWhole(
  known: BrokerRegistration,
  { previousBrokerEpoch, directories }: RegisterRequest,
): boolean {
  const before = known.directories // None of a broker that was on its own: it has not said.
  const isSame =
    before.length === directories.length && before.every((id) => directories.includes(id))
  if (before.length > 0 && !isSame) return false
  return previousBrokerEpoch >= 0 && previousBrokerEpoch <= known.epoch
}

/** A process that stopped in order, or a broker on its own that is to become a member. */
function hasEnded(broker: BrokerRegistration): boolean {
  return (broker.isFenced && broker.isDraining) || broker.incarnationId === ZERO_UUID
}

function isSound(request: RegisterRequest): boolean {
  const { brokerId, incarnationId, host, port, endpoints, rack, directories } = request
  const isEndpoint = (at: { host: string; port: number }): boolean =>
    at.host !== '' && at.host.length <= TEXT_MAX && at.port > 0 && at.port <= 0xffff
  const listeners = new Set(endpoints.map(({ listener }) => listener))
  return (
    Number.isInteger(brokerId) &&
    brokerId >= 0 &&
    isUuid(incarnationId) &&
    incarnationId !== ZERO_UUID &&
    isEndpoint({ host, port }) &&
    endpoints.length <= ENDPOINTS_MAX &&
    listeners.size === endpoints.length &&
    endpoints.every((at) => isEndpoint(at) && at.listener.length <= TEXT_MAX) &&
    (rack === null || (rack !== '' && rack.length <= TEXT_MAX)) &&
    directories.length >= 1 &&
    directories.length <= DIRECTORIES_MAX &&
    new Set(directories).size === directories.length &&
    directories.every((id) => isUuid(id) && id !== ZERO_UUID)
  )
}

/** One of the two has copied the other's disk. */
function sharesDirectory(image: MetadataImage, request: RegisterRequest): boolean {
  for (const broker of image.brokers.values()) {
    if (broker.id === request.brokerId) continue
    if (broker.directories.some((id) => request.directories.includes(id))) return true
  }
  return false
}
