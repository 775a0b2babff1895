// Objects as YAML to read: block style, strings quoted where another type would be read.

const PLAIN = /^[A-Za-z_/.][\w./:@+-]*$/;
const OTHER = /^(true|false|null|yes|no|on|off|y|n|~|\.nan|\.inf)$/i;

function scalar(value: unknown, indent: string): string {
  if (typeof value !== 'string') return JSON.stringify(value);
  if (value.includes('\n')) {
    const chomp = value.endsWith('\n') ? '' : '-';
    return `|${chomp}\n${value.replace(/\n$/, '').split('\n').map((line) => (line ? `${indent}${line}` : '')).join('\n')}`;
  }
  const plain = PLAIN.test(value) && !OTHER.test(value) && !value.endsWith(':') && !value.includes(': ');
  return plain ? value : JSON.stringify(value);
}

export function toYaml(value: unknown, indent = ''): string {
  if (Array.isArray(value)) {
    if (value.length === 0) return `${indent}[]`;
    return value.map((item) => {
      if (item === null || typeof item !== 'object' || Object.keys(item).length === 0) return `${indent}- ${Array.isArray(item) ? '[]' : item !== null && typeof item === 'object' ? '{}' : scalar(item, `${indent}  `)}`;
      return `${indent}- ${toYaml(item, `${indent}  `).trimStart()}`;
    }).join('\n');
  }
  const entries = Object.entries(value as object).filter(([, v]) => v !== undefined);
  if (entries.length === 0) return `${indent}{}`;
  return entries.map(([name, item]) => {
    const key = `${indent}${PLAIN.test(name) ? name : JSON.stringify(name)}:`;
    if (item !== null && typeof item === 'object') {
      if (Object.keys(item).length === 0) return `${key} ${Array.isArray(item) ? '[]' : '{}'}`;
      return `${key}\n${toYaml(item, Array.isArray(item) ? indent : `${indent}  `)}`;
    }
    return `${key} ${scalar(item, `${indent}  `)}`;
  }).join('\n');
}
