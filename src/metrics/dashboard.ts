/**
 * Our Grafana dashboard, as the JSON that Grafana imports; `/metrics/dashboard.json` serves it.
 * Panels are data: what is drawn, in what unit. The queries name nothing but what `metric-table.ts`
 * has, and a test lets a real Prometheus answer each of them.
 */
export interface Panel {
  readonly title: string
  /** Grafana's name of the unit. */
  readonly unit: 's' | 'bytes' | 'Bps' | 'short' | 'reqps' | 'percentunit'
  readonly queries: readonly Query[]
}

interface Query {
  readonly expr: string
  readonly legend: string
}

interface Section {
  readonly title: string
  readonly panels: readonly Panel[]
}

/** The broker that the reader has chosen. */
const BROKER = 'job=~"$job",instance=~"$instance"'
const TOPICS = `${BROKER},topic=~"$topic"`
const WINDOW = '$__rate_interval'

function rateBy(label: string, metric: string, match: string): Query {
  return {
    expr: `sum by (${label}) (rate(${metric}{${match}}[${WINDOW}]))`,
    legend: `{{${label}}}`,
  }
}

/** `q` in (0, 1). */
function quantileBy(labels: string, metric: string, q: number): Query {
  const buckets = `sum by (${labels},le) (rate(${metric}_bucket{${BROKER}}[${WINDOW}]))`
  const legend = labels
    .split(',')
    .map((label) => `{{${label}}}`)
    .join(' ')
  return { expr: `histogram_quantile(${q}, ${buckets})`, legend: `${legend} P${q * 100}` }
}

function gaugeBy(label: string, metric: string, match = BROKER): Query {
  return { expr: `sum by (${label}) (${metric}{${match}})`, legend: `{{${label}}}` }
}

export const SECTIONS: readonly Section[] = [
  {
    title: 'Throughput',
    panels: [
      panel(
        'Events in, by topic',
        'short',
        rateBy('topic', 'millrace_topic_records_in_total', TOPICS),
      ),
      panel('Bytes in, by topic', 'Bps', rateBy('topic', 'millrace_topic_bytes_in_total', TOPICS)),
      panel(
        'Bytes out, by topic',
        'Bps',
        rateBy('topic', 'millrace_topic_bytes_out_total', TOPICS),
      ),
      panel('Log size, by topic', 'bytes', gaugeBy('topic', 'millrace_topic_log_bytes', TOPICS)),
    ],
  },
  {
    title: 'Requests',
    panels: [
      panel('Requests, by API', 'reqps', rateBy('api', 'millrace_request_seconds_count', BROKER)),
      panel(
        'Latency P99, by door and API',
        's',
        quantileBy('door,api', 'millrace_request_seconds', 0.99),
      ),
      panel('Errors in answers', 'short', rateBy('error', 'millrace_request_errors_total', BROKER)),
      panel('Connections, by door', 'short', gaugeBy('door', 'millrace_connections')),
      panel(
        'Closed for what the peer did',
        'short',
        rateBy('kind', 'millrace_complaints_total', BROKER),
      ),
      panel(
        'WebSocket credits',
        'bytes',
        gaugeBy('instance', 'millrace_websocket_credit_bytes'),
        gaugeBy('instance', 'millrace_websocket_credit_limit_bytes'),
      ),
    ],
  },
  {
    title: 'Threads and memory',
    panels: [
      panel(
        'Event-loop delay P99',
        's',
        quantileBy('instance', 'millrace_event_loop_delay_seconds', 0.99),
      ),
      panel(
        'Turn time P99, by shard',
        's',
        quantileBy('shard', 'millrace_shard_turn_seconds', 0.99),
      ),
      panel(
        'CPU, by shard',
        'percentunit',
        rateBy('shard', 'millrace_shard_cpu_seconds_total', BROKER),
      ),
      panel(
        'CPU of the process',
        'percentunit',
        rateBy('instance', 'process_cpu_seconds_total', BROKER),
      ),
      panel('Resident memory', 'bytes', gaugeBy('instance', 'process_resident_memory_bytes')),
      panel(
        'Ingress arena',
        'bytes',
        gaugeBy('instance', 'millrace_ingress_bytes'),
        gaugeBy('instance', 'millrace_ingress_limit_bytes'),
      ),
      panel('Egress arena, by shard', 'bytes', gaugeBy('shard', 'millrace_shard_egress_bytes')),
      panel('Lanes, by shard', 'bytes', gaugeBy('shard', 'millrace_shard_lane_bytes')),
    ],
  },
  {
    title: 'Disk',
    panels: [
      panel('Flushes, by shard', 'short', rateBy('shard', 'millrace_shard_flushes_total', BROKER)),
      panel(
        'Left in the page cache, by shard',
        'bytes',
        gaugeBy('shard', 'millrace_shard_cache_window_bytes'),
        gaugeBy('shard', 'millrace_shard_cache_unstarted_bytes'),
      ),
      panel(
        'Deleted by retention, by shard',
        'Bps',
        rateBy('shard', 'millrace_shard_deleted_bytes_total', BROKER),
      ),
      panel('Offline partitions', 'short', gaugeBy('instance', 'millrace_offline_partitions')),
    ],
  },
]

function panel(title: string, unit: Panel['unit'], ...queries: Query[]): Panel {
  return { title, unit, queries }
}

const PANEL_WIDTH = 8
const PANEL_HEIGHT = 8
/** Of Grafana's grid. */
const GRID_WIDTH = 24
const DATASOURCE = { type: 'prometheus', uid: '$datasource' }

/** What Grafana imports. */
export function dashboard(): object {
  const panels: object[] = []
  let y = 0
  for (const section of SECTIONS) {
    const row = { h: 1, w: GRID_WIDTH, x: 0, y: y++ }
    panels.push({
      id: panels.length + 1,
      type: 'row',
      title: section.title,
      gridPos: row,
      panels: [],
    })
    for (const [i, one] of section.panels.entries()) {
      const perRow = GRID_WIDTH / PANEL_WIDTH
      const x = (i % perRow) * PANEL_WIDTH
      const at = {
        h: PANEL_HEIGHT,
        w: PANEL_WIDTH,
        x,
        y: y + Math.floor(i / perRow) * PANEL_HEIGHT,
      }
      panels.push(drawn(one, panels.length + 1, at))
    }
    y += Math.ceil((section.panels.length * PANEL_WIDTH) / GRID_WIDTH) * PANEL_HEIGHT
  }
  return {
    title: 'Millrace',
    uid: 'millrace',
    tags: ['millrace'],
    schemaVersion: 36,
    editable: true,
    refresh: '10s',
    time: { from: 'now-1h', to: 'now' },
    templating: {
      list: [
        { name: 'datasource', type: 'datasource', query: 'prometheus' },
        variable('job', 'label_values(millrace_broker_info, job)'),
        variable('instance', 'label_values(millrace_broker_info{job=~"$job"}, instance)'),
        variable('topic', 'label_values(kafka_topic_partitions{instance=~"$instance"}, topic)'),
      ],
    },
    panels,
  }
}

function drawn({ title, unit, queries }: Panel, id: number, gridPos: object): object {
  return {
    id,
    title,
    gridPos,
    type: 'timeseries',
    datasource: DATASOURCE,
    fieldConfig: { defaults: { unit, min: 0 }, overrides: [] },
    targets: queries.map(({ expr, legend }, i) => ({
      refId: 'ABCDEFGH'[i],
      expr,
      legendFormat: legend,
      datasource: DATASOURCE,
    })),
  }
}

function variable(name: string, query: string): object {
  return {
    name,
    type: 'query',
    datasource: DATASOURCE,
    query: { query, refId: name },
    refresh: 2,
    includeAll: true,
    multi: true,
    allValue: '.*',
    current: { text: 'All', value: '$__all' },
  }
}
