'use strict';
// Items come as rows: [task, index, question, target, answers, filtered, metrics, choices, tokens, seconds,
// verdicts].
const data = JSON.parse(document.getElementById('data').textContent);
const PAGE = 50;
const list = document.getElementById('list');
const count = document.getElementById('count');
const more = document.getElementById('more');
const search = document.getElementById('search');
const task = document.getElementById('task');
const verdict = document.getElementById('verdict');
let found = [];
let shown = 0;

// Model output is only ever set as text.
function make(name, cls, text) {
  const node = document.createElement(name);
  if (cls) node.className = cls;
  if (text !== undefined) node.textContent = text;
  return node;
}

function state(item) {
  const values = Object.values(item[6]);
  if (!values.length) return 'none';
  return values.some(value => value > 0) ? 'right' : 'wrong';
}

function block(parent, label, text) {
  parent.append(make('div', 'lab', label), make('pre', '', text));
}

function choices(parent, item) {
  const logs = item[7].map(choice => choice[0]);
  const most = Math.max(...logs);
  const weights = logs.map(value => Math.exp(value - most));
  const sum = weights.reduce((a, b) => a + b, 0);
  const box = make('div', 'probs');
  logs.forEach((value, i) => {
    const share = weights[i] / sum;
    const bar = make('i', value === most ? 'best' : '');
    bar.style.width = Math.max(0.5, 100 * share) + '%';
    const name = String.fromCharCode(65 + i) + (String(i) === item[3] ? ' ✓' : '');
    box.append(make('span', '', name), bar,
      make('span', 'what', (100 * share).toFixed(1) + ' %  ' + value.toFixed(3)));
  });
  parent.append(make('div', 'lab', 'choices: share among them, log-probability; ✓ is right'), box);
}

function body(item, parent) {
  const head = data.headers[item[0]];
  block(parent, 'question', item[2]);
  if (head) {
    const before = make('details');
    before.append(make('summary', 'what', 'before the question, for all of ' + data.tasks[item[0]]),
      make('pre', '', head));
    parent.append(before);
  }
  if (item[7].length) choices(parent, item);
  item[4].forEach((text, i) => block(parent, i ? 'answer ' + (i + 1) : 'answer', text));
  Object.entries(item[5]).forEach(([filter, text]) => {
    if (!item[7].length) block(parent, 'judged by ' + filter, text);
  });
  if (!item[7].length) block(parent, 'expected', item[3]);
  if (item[10].length) block(parent, 'how its program ended', item[10].join('\n'));
  const cost = item[8] === null ? [] :
    [item[8][0] + ' prompt tokens, ' + item[8][1] + ' of them cached', item[8][2] + ' new tokens',
      item[9].toFixed(2) + ' s'];
  const scores = Object.entries(item[6]).map(([name, value]) => name + ' ' + value);
  parent.append(make('p', 'note', scores.concat(cost).join('; ')));
}

function row(item) {
  const kind = state(item);
  const node = make('details', 'item');
  const head = make('summary');
  const mark = make('span', 'mark ' + kind, { right: '✓', wrong: '✗', none: '–' }[kind]);
  mark.title = { right: 'right', wrong: 'wrong', none: 'not judged' }[kind];
  const code = item[2].match(/^def .*$/m);
  const line = code ? code[0] : item[2].split('\n').find(text => text.trim()) || '';
  head.append(mark, make('span', 'what', data.tasks[item[0]] + ' ' + item[1]),
    make('span', 'first', line));
  node.append(head);
  node.addEventListener('toggle', () => {
    if (node.open && node.childElementCount === 1) body(item, node);
  });
  return node;
}

function page() {
  const part = document.createDocumentFragment();
  found.slice(shown, shown + PAGE).forEach(item => part.append(row(item)));
  shown = Math.min(found.length, shown + PAGE);
  list.append(part);
  more.hidden = shown >= found.length;
  more.textContent = 'show more (' + (found.length - shown) + ')';
}

function filter() {
  const words = search.value.toLowerCase().split(/\s+/).filter(word => word);
  found = data.items.filter(item => {
    if (task.value !== '' && String(item[0]) !== task.value) return false;
    if (verdict.value !== '' && state(item) !== verdict.value) return false;
    if (!words.length) return true;
    const text = (data.tasks[item[0]] + ' ' + item[1] + ' ' + item[2] + ' ' + item[4].join(' ')
      + ' ' + item[3] + ' ' + item[10].join(' ')).toLowerCase();
    return words.every(word => text.includes(word));
  });
  shown = 0;
  list.textContent = '';
  count.textContent = found.length + ' of ' + data.items.length + ' items';
  page();
}

data.tasks.forEach((name, i) => {
  const option = make('option', '', name);
  option.value = i;
  task.append(option);
});
let wait = 0;
search.addEventListener('input', () => { clearTimeout(wait); wait = setTimeout(filter, 150); });
task.addEventListener('change', filter);
verdict.addEventListener('change', filter);
more.addEventListener('click', page);
filter();
