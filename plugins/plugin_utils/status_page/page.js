/* Copyright: (c) 2026, wgsd.mesh contributors
   GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
   SPDX-License-Identifier: GPL-3.0-or-later */

/* Draws the map and the matrix. Texts of the data become text nodes and nothing else. */
(() => {
  'use strict';

  const DATA = JSON.parse(document.getElementById('data').textContent);
  const NODES = DATA.nodes;
  const HOSTS = DATA.hosts;
  const ALONE = new Set(DATA.alone);
  // Hosts up to which the map has all links, and cells have words; links that it draws at most.
  const FEW = 24;
  const WORDS = 7;
  const MOST_LINKS = 500;
  const LABELS = 60;

  const STATES = {
    d: {name: 'direct', look: 'direct', sign: '●', says: 'a tunnel'},
    k: {name: 'known', look: 'tried', sign: '○', says: 'the endpoint has just been set'},
    p: {name: 'punching', look: 'tried', sign: '○', says: 'a handshake is to come'},
    n: {name: 'unknown', look: 'unknown', sign: '?', says: 'no tunnel, and no endpoint in the zone'},
    s: {name: 'stale', look: 'stale', sign: '◐', says: 'a session, but nothing comes any more'},
    u: {name: 'unreachable', look: 'unreachable', sign: '✕', says: 'no handshake, however often tried'},
    '.': {name: 'not a peer', look: 'absent', sign: '·', says: 'this host does not have it as a peer'},
    '-': {name: 'itself', look: 'self', sign: '\u2013', says: 'the host itself'},
    '!': {name: 'no answer', look: 'silent', sign: '!', says: 'the host gave no status'},
  };
  const RANK = 'dkpnsu';
  const BAD = 'kpnsu';

  const byId = (id) => document.getElementById(id);

  function element(name, attributes, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  function drawn(name, attributes, ...children) {
    const made = document.createElementNS('http://www.w3.org/2000/svg', name);
    for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  function age(seconds) {
    let rest = Math.max(0, Math.floor(seconds));
    const parts = [];
    for (const [unit, size] of [['d', 86400], ['h', 3600], ['m', 60], ['s', 1]]) {
      const count = Math.floor(rest / size);
      rest %= size;
      if (count || (unit === 's' && !parts.length)) parts.push(`${count} ${unit}`);
    }
    return parts.slice(0, 2).join(' ');
  }

  function milliseconds(tenths) {
    if (tenths === -2) return 'no reply';
    const value = tenths / 10;
    return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
  }

  function stateOf(from, to) {
    if (from === to) return '-';
    if (from >= HOSTS) return '.';
    const row = DATA.rows[from];
    return row ? row.state[to] : '!';
  }

  function endpointOf(from, to) {
    const row = DATA.rows[from];
    if (!row || row.host[to] < 0) return '';
    const host = DATA.strings[row.host[to]];
    return row.port[to] < 0 ? host : `${host}:${row.port[to]}`;
  }

  const isBad = (from, to) => BAD.includes(stateOf(from, to));

  // ------------------------------------------------------------------ the time

  function tellAge() {
    const old = Date.now() / 1000 - DATA.written;
    const ago = byId('ago');
    ago.textContent = ` (${age(old)} ago${old > 900 ? '; run the playbook again' : ''})`;
    ago.classList.toggle('old', old > 900);
  }
  tellAge();
  setInterval(tellAge, 20000);

  // ------------------------------------------------------------------ details

  function chip(letter) {
    const state = STATES[letter];
    return element('span', {class: `chip s-${state.look}`}, `${state.sign} ${state.name}`);
  }

  function list(pairs) {
    const made = element('dl');
    for (const [name, value] of pairs) {
      if (value === '') continue;
      if (name) made.append(element('dt', {}, name));
      made.append(element('dd', {}, String(value)));
    }
    return made;
  }

  function seen(from, to) {
    const row = DATA.rows[from];
    if (!row) return [];
    const source = row.source[to];
    return [
      ['Since', row.since[to] < 0 ? '' : age(row.since[to])],
      ['Handshake', row.age[to] < 0 ? 'never' : `${age(row.age[to])} ago`],
      ['Round trip', row.rtt[to] === -1 ? '' : milliseconds(row.rtt[to])],
      ['Endpoint', endpointOf(from, to) || 'none'],
      ['From', source < 0 ? '' : DATA.sources[source]],
      ...(row.notes[to] || []).map((number, index) => [index ? '' : 'Notes', DATA.strings[number]]),
    ];
  }

  function tellLink(from, to) {
    const letter = stateOf(from, to);
    const heading = element('h3', {}, `${NODES[from].label} \u2192 ${NODES[to].label}: `, chip(letter));
    const found = [heading, element('p', {}, `${STATES[letter].says}.`)];
    if (RANK.includes(letter)) found.push(list(seen(from, to)));
    if (to < HOSTS && from !== to) {
      const back = stateOf(to, from);
      found.push(element('p', {}, `The other way, ${NODES[to].label} \u2192 ${NODES[from].label}: `, chip(back)));
      if (BAD.includes(back)) found.push(list(seen(to, from)));
    }
    for (let registry = 0; registry < HOSTS && NODES[registry].registry; registry++) {
      const endpoint = endpointOf(registry, to);
      if (endpoint && registry !== from && registry !== to) {
        found.push(element('p', {}, `${NODES[registry].label} sees ${NODES[to].label} at ${endpoint}.`));
      }
    }
    byId('details').replaceChildren(...found);
  }

  function tellHost(number) {
    const node = NODES[number];
    const facts = [...node.facts];
    if (number < HOSTS && DATA.rows[number]) {
      const count = {};
      for (const letter of DATA.rows[number].state) {
        if (RANK.includes(letter)) count[STATES[letter].name] = (count[STATES[letter].name] || 0) + 1;
      }
      facts.push(['Peers', Object.entries(count).map(([name, n]) => `${n} ${name}`).join(', ')]);
    }
    if (number >= HOSTS) facts.push(['Status', 'a peer that the inventory does not have']);
    byId('details').replaceChildren(element('h3', {}, node.label), list(facts));
  }

  // ------------------------------------------------------------------ links

  // Each pair of hosts once, with how it is, all told.
  const links = [];
  for (let one = 0; one < HOSTS; one++) {
    for (let other = one + 1; other < HOSTS; other++) {
      const views = [stateOf(one, other), stateOf(other, one)].filter((letter) => RANK.includes(letter));
      if (!views.length) continue;
      const worst = views.reduce((a, b) => (RANK.indexOf(a) > RANK.indexOf(b) ? a : b));
      const sided = views.includes('d') && worst !== 'd';
      links.push({one, other, look: sided ? 'one-sided' : STATES[worst].look});
    }
  }
  const wrong = links.filter((link) => link.look !== 'direct');
  const troubled = new Set(wrong.filter((link) => !ALONE.has(link.one) && !ALONE.has(link.other))
    .flatMap((link) => [link.one, link.other]));

  // ------------------------------------------------------------------ the map

  const LOOKS = [
    ['direct', 'direct', '●'],
    ['one-sided', 'one-sided: the ends do not agree', ''],
    ['stale', 'stale', '◐'],
    ['tried', 'known or punching: being tried', '○'],
    ['unknown', 'unknown', '?'],
    ['unreachable', 'unreachable', '✕'],
  ];

  function drawLegend() {
    for (const [look, words, sign] of LOOKS) {
      const line = drawn('svg', {viewBox: '0 0 44 12', 'aria-hidden': 'true'},
        drawn('path', {class: `edge e-${look}`, d: 'M1 6H43'}));
      byId('legend').append(element('li', {}, line, `${sign} ${words}`));
    }
    const marks = [['well', '', 'all direct'], ['some', '!', 'some not direct'],
      ['alone', '✕', 'reached by nobody'], ['silent', '?', 'gave no status']];
    for (const [look, glyph, words] of marks) {
      const mark = drawn('svg', {viewBox: '-9 -8 18 16', 'aria-hidden': 'true'});
      mark.append(...nodeMark(look, glyph, 0, 0, 7));
      mark.style.width = '20px';
      mark.style.height = '16px';
      byId('legend').append(element('li', {}, mark, words));
    }
    const ring = drawn('svg', {viewBox: '-9 -8 18 16', 'aria-hidden': 'true'},
      drawn('circle', {class: 'ring', cx: 0, cy: 0, r: 7}));
    ring.style.width = '20px';
    byId('legend').append(element('li', {}, ring, 'registry'));
  }

  function lookOf(number) {
    if (ALONE.has(number)) return ['alone', '✕'];
    if (!DATA.rows[number]) return ['silent', '?'];
    return troubled.has(number) ? ['some', '!'] : ['well', ''];
  }

  function nodeMark(look, glyph, x, y, size) {
    const shape = look === 'well'
      ? drawn('circle', {class: `node n-${look}`, cx: x, cy: y, r: size})
      : drawn('rect', {class: `node n-${look}`, x: x - size, y: y - size, width: 2 * size,
        height: 2 * size, rx: look === 'alone' ? 0 : size / 2});
    const sign = drawn('text', {class: 'glyph', x, y: y + size * 0.6});
    sign.style.fontSize = `${size * 1.6}px`;
    sign.textContent = glyph;
    return size >= 6 && glyph ? [shape, sign] : [shape];
  }

  function drawMap() {
    const box = byId('map-drawing');
    const many = HOSTS > FEW;
    const wanted = many
      ? wrong.filter((link) => !ALONE.has(link.one) && !ALONE.has(link.other))
      : links;
    const shown = wanted.slice(0, MOST_LINKS);
    const centre = [];
    const around = [];
    for (let number = 0; number < HOSTS; number++) {
      // Of few hosts no line between two may pass behind a third.
      if (NODES[number].registry && many) centre.push(number);
      else if (!many || lookOf(number)[0] !== 'well') around.push(number);
    }
    tellMap(many, wanted.length, shown.length, around.length);
    if (many && !around.length && centre.every((number) => lookOf(number)[0] === 'well')) return;
    const count = {};
    for (const link of wanted) for (const end of [link.one, link.other]) count[end] = (count[end] || 0) + 1;
    // With too many for all names, of those that are worst off.
    const named = new Set([...around].sort((a, b) =>
      ALONE.has(b) - ALONE.has(a) || (count[b] || 0) - (count[a] || 0)).slice(0, LABELS));
    const width = Math.max(280, box.clientWidth || 800);
    const height = Math.min(Math.max(180, width * 0.9, named.size * 9),
      around.length > 12 ? 620 : around.length > 4 ? 460 : 340);
    // Room for names at the sides.
    const side = Math.min(170, width * 0.27);
    const radiusX = Math.min(width / 2 - side, height * 0.8);
    const radiusY = height / 2 - 20;
    const size = Math.max(3, Math.min(9, 1.1 * (radiusX + radiusY) / around.length));
    const place = [];
    around.forEach((number, index) => {
      const angle = 2 * Math.PI * index / around.length - Math.PI / 2;
      place[number] = [width / 2 + radiusX * Math.cos(angle), height / 2 + radiusY * Math.sin(angle)];
    });
    centre.forEach((number, index) => {
      place[number] = [width / 2, height / 2 + (index - (centre.length - 1) / 2) * 36];
    });
    const svg = drawn('svg', {viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-labelledby': 'map-title', 'aria-describedby': 'map-text'});
    const paths = {};
    for (const link of shown) {
      const [[x, y], [u, v]] = [place[link.one], place[link.other]];
      (paths[link.look] ||= []).push(`M${x.toFixed(1)} ${y.toFixed(1)}L${u.toFixed(1)} ${v.toFixed(1)}`);
    }
    for (const [look] of LOOKS) {
      if (paths[look]) svg.append(drawn('path', {class: `edge e-${look}`, d: paths[look].join('')}));
    }
    const names = [];
    for (const number of [...centre, ...around]) {
      const [x, y] = place[number];
      const [look, glyph] = lookOf(number);
      const group = drawn('g', {}, ...nodeMark(look, glyph, x, y, NODES[number].registry ? 10 : size));
      if (NODES[number].registry) group.append(drawn('circle', {class: 'ring', cx: x, cy: y, r: 15}));
      const tip = drawn('title');
      tip.textContent = NODES[number].label;
      group.append(tip);
      group.addEventListener('click', () => choose(number));
      svg.append(group);
      if (NODES[number].registry || named.has(number)) names.push([number, x, y]);
    }
    drawNames(svg, names, centre, width, height, size);
    box.replaceChildren(svg);
  }

  // Names beside their nodes, on each side from the top down without covering each other.
  function drawNames(svg, names, centre, width, height, size) {
    for (const right of [true, false]) {
      const mine = names.filter(([number, x]) => (x >= width / 2) === right).sort((a, b) => a[2] - b[2]);
      const ring = mine.filter(([number]) => !centre.includes(number));
      let last = 0;
      const rows = ring.map(([number, x, y]) => [number, x, y, (last = Math.max(y, last + 15))]);
      let next = height + 7;
      for (const row of rows.reverse()) row[3] = next = Math.min(row[3], next - 15);
      for (const [number, x, y, at] of rows) {
        const beside = NODES[number].registry ? 20 : size + 5;
        const edge = x + (right ? beside : -beside);
        if (Math.abs(at - y) > 8) {
          svg.append(drawn('path', {d: `M${edge} ${y}L${edge + (right ? 14 : -14)} ${at}`, stroke: 'currentColor', 'stroke-width': 0.7, fill: 'none'}));
        }
        const shift = Math.abs(at - y) > 8 ? (right ? 17 : -17) : 0;
        svg.append(nameAt(NODES[number].label, edge + shift, at + 4, right ? 'start' : 'end', right ? width - edge - shift : edge + shift));
      }
    }
    for (const [number, x, y] of names) {
      if (centre.includes(number)) {
        const label = nameAt(NODES[number].label, x, y + 28, 'middle', width / 2);
        label.style.paintOrder = 'stroke';
        label.style.stroke = 'var(--back)';
        label.style.strokeWidth = '4px';
        svg.append(label);
      }
    }
  }

  function nameAt(name, x, y, anchor, room) {
    const text = drawn('text', {x, y, 'text-anchor': anchor});
    const most = Math.max(4, Math.floor(room / 8));
    text.textContent = name.length > most ? `${name.slice(0, most - 1)}…` : name;
    return text;
  }

  function tellMap(many, wanted, shown, around) {
    const count = {};
    for (const link of links) count[link.look] = (count[link.look] || 0) + 1;
    const words = LOOKS.filter(([look]) => count[look]).map(([look, name]) => `${count[look]} ${name.split(':')[0]}`);
    let text = `${HOSTS} hosts. Links between them: ${words.join(', ') || 'none known'}.`;
    if (many && !around) text += ' There is nothing to draw: every link is direct.';
    else if (many) {
      text += ` Drawn are the ${around} hosts that are not all direct, registries, with a ring, in the middle`;
      text += wanted > shown ? `, and ${shown} of the ${wanted} links that are not.` : ', and their links that are not.';
      if (ALONE.size) text += ' A host that nobody reaches is marked, and its links are left out.';
    } else if (HOSTS > 1) text += ' Registries have a ring and come first, at the top.';
    byId('map-text').textContent = text;
  }

  function choose(number) {
    tellHost(number);
    const row = shownRows.indexOf(number);
    if (row >= 0) {
      move(row, 0);
      byId('matrix').scrollIntoView({block: 'start'});
    }
  }

  // ------------------------------------------------------------------ the matrix

  const box = byId('grid-box');
  const grid = byId('grid');
  const head = element('thead');
  const body = element('tbody');
  grid.append(head, body);
  let shownRows = [];
  let shownColumns = [];
  let made = new Map();
  let active = [0, 1];
  let compact = true;
  let high = 28;
  let before = '';

  function cellText(from, to, letter) {
    const state = STATES[letter];
    if (compact) return state.sign;
    const row = DATA.rows[from];
    const more = letter === 'd' && row.rtt[to] >= 0 ? milliseconds(row.rtt[to]) : state.name;
    return letter === '-' ? state.sign : `${state.sign} ${more}`;
  }

  function rowElement(index) {
    const from = shownRows[index];
    const made = element('tr', {'aria-rowindex': index + 2});
    const name = element('th', {scope: 'row', tabindex: -1, 'data-c': 0, 'aria-colindex': 1}, NODES[from].label);
    name.title = NODES[from].label;
    // Only constants and numbers become markup.
    let cells = '';
    shownColumns.forEach((to, column) => {
      const letter = stateOf(from, to);
      const state = STATES[letter];
      cells += `<td role="gridcell" tabindex="-1" class="s-${state.look}" data-c="${column + 1}"` +
        ` aria-colindex="${column + 2}" aria-label="${state.name}">${cellText(from, to, letter)}</td>`;
    });
    made.innerHTML = cells;
    made.prepend(name);
    made.dataset.r = index;
    return made;
  }

  function gap(rows) {
    const space = element('td', {colspan: shownColumns.length + 1});
    space.style.height = `${rows * high}px`;
    return element('tr', {class: 'gap', 'aria-hidden': 'true'}, space);
  }

  function draw() {
    const top = Math.max(0, box.scrollTop);
    const first = Math.max(0, Math.floor(top / high) - 8);
    const last = Math.min(shownRows.length, Math.ceil((top + box.clientHeight) / high) + 8);
    const wanted = [];
    for (let index = first; index < last; index++) wanted.push(index);
    if (active[0] < first) wanted.unshift(active[0]);
    else if (active[0] >= last && active[0] < shownRows.length) wanted.push(active[0]);
    const now = wanted.join();
    if (now === before) return;
    before = now;
    const had = body.contains(document.activeElement);
    const next = new Map();
    const rows = [];
    let at = 0;
    for (const index of wanted) {
      if (index > at) rows.push(gap(index - at));
      const row = made.get(index) || rowElement(index);
      next.set(index, row);
      rows.push(row);
      at = index + 1;
    }
    if (at < shownRows.length) rows.push(gap(shownRows.length - at));
    made = next;
    body.replaceChildren(...rows);
    mark();
    if (had) activeCell()?.focus({preventScroll: true});
  }

  function activeCell() {
    return made.get(active[0])?.children[active[1]];
  }

  function mark() {
    body.querySelectorAll('[tabindex="0"]').forEach((cell) => { cell.tabIndex = -1; });
    const cell = activeCell();
    if (cell) cell.tabIndex = 0;
  }

  function tellActive() {
    const from = shownRows[active[0]];
    if (active[1] === 0) tellHost(from);
    else tellLink(from, shownColumns[active[1] - 1]);
  }

  function move(row, column) {
    active = [
      Math.max(0, Math.min(row, shownRows.length - 1)),
      Math.max(0, Math.min(column, shownColumns.length)),
    ];
    const above = active[0] * high;
    const room = box.clientHeight - head.offsetHeight;
    if (above < box.scrollTop) box.scrollTop = above;
    else if (above + high > box.scrollTop + room) box.scrollTop = above + high - room;
    draw();
    mark();
    const cell = activeCell();
    if (!cell) return;
    if (active[1] > 0) {
      const left = cell.offsetLeft;
      const fixed = cell.parentElement.firstElementChild.offsetWidth;
      if (left - fixed < box.scrollLeft) box.scrollLeft = left - fixed;
      else if (left + cell.offsetWidth > box.scrollLeft + box.clientWidth) {
        box.scrollLeft = left + cell.offsetWidth - box.clientWidth;
      }
    }
    cell.focus({preventScroll: true});
    cell.scrollIntoView({block: 'nearest', inline: 'nearest'});
  }

  function build() {
    const only = byId('only').checked;
    const text = byId('find').value.trim().toLowerCase();
    const fits = (number) => !text || NODES[number].label.toLowerCase().includes(text);
    const silent = (number) => number < HOSTS && !DATA.rows[number];
    const matters = (number) => !only || troubled.has(number) || ALONE.has(number) || silent(number)
      || (number >= HOSTS && strangersWrong.has(number));
    shownRows = [];
    shownColumns = [];
    for (let number = 0; number < NODES.length; number++) {
      if (!matters(number)) continue;
      if (number < HOSTS && fits(number)) shownRows.push(number);
      shownColumns.push(number);
    }
    compact = shownColumns.length > WORDS;
    high = compact ? 28 : 40;
    grid.className = compact ? 'compact' : 'wide';
    grid.setAttribute('aria-rowcount', shownRows.length + 1);
    grid.setAttribute('aria-colcount', shownColumns.length + 1);
    const names = element('tr', {'aria-rowindex': 1}, element('th', {scope: 'col', 'aria-colindex': 1}, 'From \u2193'));
    shownColumns.forEach((number, column) => {
      const name = element('th', {scope: 'col', 'aria-colindex': column + 2}, element('span', {}, NODES[number].label));
      name.title = NODES[number].label;
      names.append(name);
    });
    head.replaceChildren(names);
    made = new Map();
    before = '';
    active = [0, Math.min(1, shownColumns.length)];
    box.scrollTop = 0;
    draw();
    byId('shown').textContent = shownRows.length === HOSTS && shownColumns.length === NODES.length
      ? '' : `${shownRows.length} of ${HOSTS} hosts, ${shownColumns.length} of ${NODES.length} peers`;
  }

  // Peers that are no hosts and that somebody does not reach.
  const strangersWrong = new Set();
  for (let from = 0; from < HOSTS; from++) {
    for (let to = HOSTS; to < NODES.length; to++) if (isBad(from, to)) strangersWrong.add(to);
  }

  grid.addEventListener('keydown', (event) => {
    if (event.altKey || event.metaKey) return;
    const page = Math.max(1, Math.floor((box.clientHeight - head.offsetHeight) / high) - 1);
    const [row, column] = active;
    const end = shownColumns.length;
    const goes = {
      ArrowUp: [row - 1, column], ArrowDown: [row + 1, column],
      ArrowLeft: [row, column - 1], ArrowRight: [row, column + 1],
      Home: event.ctrlKey ? [0, 0] : [row, 0],
      End: event.ctrlKey ? [shownRows.length - 1, end] : [row, end],
      PageUp: [row - page, column], PageDown: [row + page, column],
    }[event.key];
    if (!goes || !body.contains(event.target)) return;
    event.preventDefault();
    move(...goes);
  });
  grid.addEventListener('focusin', (event) => {
    const cell = event.target.closest('[data-c]');
    if (!cell) return;
    active = [Number(cell.parentElement.dataset.r), Number(cell.dataset.c)];
    mark();
    tellActive();
  });
  let asked = false;
  box.addEventListener('scroll', () => {
    if (!asked) requestAnimationFrame(() => { asked = false; draw(); });
    asked = true;
  });
  byId('only').addEventListener('change', build);
  let typed = 0;
  byId('find').addEventListener('input', () => {
    clearTimeout(typed);
    typed = setTimeout(build, 150);
  });
  byId('filter').addEventListener('submit', (event) => event.preventDefault());

  let wide = 0;
  function resized() {
    const width = byId('map-drawing').clientWidth;
    if (width !== wide) {
      wide = width;
      drawMap();
    }
    draw();
  }

  byId('only').checked = HOSTS > FEW && wrong.length > 0;
  drawLegend();
  build();
  resized();
  addEventListener('resize', resized);
})();
