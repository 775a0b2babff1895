import { expect, test } from 'vitest';
import { found, mapOf, nameFrom } from './stored';

test('what is kept is found again, what is broken says so', () => {
  const map = mapOf('team', nameFrom('Über: die Dienste!'), '{"title":"Services","panels":[]}');
  expect(map.metadata).toEqual({ name: 'dashboard-uber-die-dienste', namespace: 'team', labels: { grafana_dashboard: '1' } });
  const all = found([map, { metadata: { name: 'm', namespace: 'n' }, data: { 'x.json': '{', 'notes.txt': 'x' } }]);
  expect(all.map((d) => [d.title, d.url, d.problem !== ''])).toEqual([['Services', '/observe/dashboards/team/dashboard-uber-die-dienste/uber-die-dienste.json', false], ['x.json', '/observe/dashboards/n/m/x.json', true]]);
  expect(nameFrom('???')).toBe('dashboard-untitled');
});
