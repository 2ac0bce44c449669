/** The clients of Kafka's protocol that the tests have. */
import type { KafkaClient } from './client.ts'
import { confluentPython } from './confluent-python.ts'
import type { JavaClient } from './java.ts'
import { kafkaPython } from './kafka-python.ts'
import { kafkajsClient } from './kafkajs.ts'
import { kcat } from './kcat.ts'
import { platformatic } from './platformatic.ts'

export function kafkaClients(java: JavaClient): readonly KafkaClient[] {
  return [java, kcat, kafkaPython, confluentPython, kafkajsClient, platformatic]
}
