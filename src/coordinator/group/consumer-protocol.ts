import { MessageCodecs } from '../../wire/kafka/codec/codecs.ts'
import { DecodeError } from '../../wire/kafka/decode-error.ts'
import { Reader } from '../../wire/kafka/reader.ts'
import { type Decoded, defineMessage } from '../../wire/kafka/schema/definition.ts'

/**
 * What consumers tell each other through a classic group (protocol type "consumer"): opaque to the
 * group's protocol, but it says which topics a member is subscribed to. A version stands in front;
 * what a newer one adds stands behind what is known here.
 */
export const CONSUMER_PROTOCOL_TYPE = 'consumer'
const VERSION_MAX = 3

const subscription = defineMessage({
  name: 'ConsumerProtocolSubscription',
  kind: 'record',
  apiKey: -1,
  versions: '0-3',
  flexible: '4+',
  fields: {
    topics: { type: ['string'], versions: '0+' },
    userData: { type: 'bytes', versions: '0+', nullable: '0+', default: null },
    ownedPartitions: {
      versions: '1+',
      type: [
        {
          topic: { type: 'string', versions: '1+' },
          partitions: { type: ['int32'], versions: '1+' },
        },
      ],
      ignorable: true,
    },
    generationId: { type: 'int32', versions: '2+', default: -1, ignorable: true },
    rackId: { type: 'string', versions: '3+', nullable: '3+', default: null, ignorable: true },
  },
})

export type ConsumerSubscription = Decoded<typeof subscription.fields>

const codecs = new MessageCodecs(subscription)

/** Null for bytes that are no subscription. */
export function decodeSubscription(bytes: Uint8Array): ConsumerSubscription | null {
  try {
    const reader = new Reader(bytes)
    const version = Math.min(reader.int16('version'), VERSION_MAX)
    return version < 0 ? null : (codecs.decoder(version)(reader) as ConsumerSubscription)
  } catch (error) {
    if (error instanceof DecodeError) return null
    throw error
  }
}
