import { z } from 'zod'
import { OPERATIONS, type Operation } from './operations.ts'
import { PARTITION_MAX, Refusal } from './shapes.ts'

/** Of these operations and shapes. */
const VERSION = '1'

/** /openapi.json, version 3.1: what `operations.ts` declares, in OpenAPI's words. */
export function openApi(): object {
  const paths: Record<string, Record<string, object>> = {}
  for (const [operationId, operation] of Object.entries(OPERATIONS)) {
    paths[operation.path] ??= {}
    paths[operation.path]![operation.method.toLowerCase()] = describe(operationId, operation)
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Millrace', version: VERSION, description: 'Topics and events over HTTP' },
    paths,
    components: {
      schemas: { Refusal: schemaOf(Refusal) },
      responses: {
        Refusal: {
          description: 'It was refused; a 429 or 503 may be sent again after Retry-After seconds',
          content: { 'application/json': { schema: { $ref: '#/components/schemas/Refusal' } } },
        },
      },
    },
  }
}

function describe(operationId: string, operation: Operation): object {
  const { summary, path, query, body, status, answer } = operation
  return {
    operationId,
    summary,
    parameters: [...pathParameters(path), ...queryParameters(query)],
    ...(body === null ? {} : { requestBody: { required: true, content: contentOf(body) } }),
    responses: {
      [status]: { description: 'Done', content: contentOf(answer) },
      default: { $ref: '#/components/responses/Refusal' },
    },
  }
}

const PATH_SCHEMAS: Readonly<Record<string, object>> = {
  topic: { type: 'string', pattern: '^[a-zA-Z0-9._-]{1,249}$' },
  partition: { type: 'integer', minimum: 0, maximum: PARTITION_MAX },
  group: { type: 'string', minLength: 1 },
  member: { type: 'string', minLength: 1 },
}

function pathParameters(path: string): object[] {
  return [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => ({
    name,
    in: 'path',
    required: true,
    schema: PATH_SCHEMAS[name],
  }))
}

function queryParameters(query: z.ZodObject): object[] {
  const { properties = {}, required = [] } = z.toJSONSchema(query)
  return Object.entries(properties).map(([name, schema]) => ({
    name,
    in: 'query',
    required: required.includes(name),
    schema,
  }))
}

function contentOf(types: Readonly<Record<string, z.ZodType | 'bytes'>>): object {
  const content = Object.entries(types).map(([type, shape]) => [
    type,
    shape === 'bytes' ? {} : { schema: schemaOf(shape) },
  ])
  return Object.fromEntries(content)
}

function schemaOf(shape: z.ZodType): object {
  const { $schema: _, ...schema } = z.toJSONSchema(shape, { unrepresentable: 'any' })
  return schema
}
