// A live chart of the last five minutes, drawn by uPlot (a global, from its own file).

import { byId, make, setText } from './dom.js';
import { clock, compact } from './format.js';

const KEPT_SECONDS = 300;
const HEIGHT_PX = 150;

/** Where the time axis has its labels: they stand still while the lines move. */
const AGO_MINUTES = [4, 3, 2, 1];

/** Lines differ by dash as well as by colour. */
const DASHES = [[], [6, 3], [2, 3], [9, 3, 2, 3]];

const SVG = 'http://www.w3.org/2000/svg';

export class LiveChart {
  #card = {};
  #data;
  #names;
  #write;
  #plot;

  /**
   * Draws in the card `id`. `names` are the lines; `write(value)` writes one of their values, `axis(value)` one beside
   * the scale; `total` says that the large figure is the sum of all lines, not the first one; `floor` is the least height.
   */
  constructor(id, { names, write, axis = compact, total = false, floor = 5 }) {
    this.#names = names;
    this.#write = write;
    this.#data = [[], ...names.map(() => [])];
    this.#card = { root: byId(id), total, mark: '' };
    this.#build(axis, floor);
  }

  /**
   * Adds a point; `null` is a gap. `why` stands where the figure would be while there is none, `mark` says what is to be
   * known about it.
   */
  push(values, why, mark = '') {
    const [times, ...lines] = this.#data;
    const now = Date.now() / 1000;
    // A clock that was set back: uPlot wants times in order.
    while (times.at(-1) >= now) this.#data.forEach((it) => it.pop());
    times.push(now);
    lines.forEach((line, index) => line.push(values[index]));
    while (times[0] < now - KEPT_SECONDS) this.#data.forEach((it) => it.shift());
    this.#card.mark = mark;
    this.#plot.setData(this.#data);

    const figure = this.#figureAt(times.length - 1);
    const { root } = this.#card;
    root.dataset.points = lines[0].filter((it) => it !== null).length;
    root.dataset.last = figure ?? '';
    root.classList.toggle('silent', figure === null);
    setText(this.#card.figure, figure === null ? why : this.#write(figure));
    this.#tell();
  }

  /** A gap, where the stream was cut; nothing before the first point. */
  cut() {
    if (this.#data[0].length) this.push(this.#names.map(() => null), 'Disconnected');
  }

  /** Again, in the colours of now. */
  redraw() {
    this.#plot.redraw();
  }

  #figureAt(index) {
    const values = this.#data.slice(1).map((it) => it[index]);
    if (!this.#card.total) return values[0] ?? null;
    return values.includes(null) ? null : values.reduce((sum, it) => sum + it, 0);
  }

  /** The values under the cursor, or else the newest, and the summary for those who do not see the lines. */
  #tell() {
    const { when, values, canvas, root, mark } = this.#card;
    const [times, ...lines] = this.#data;
    // What was under the cursor may just have left the window.
    const under = times[this.#plot.cursor.idx] === undefined ? null : this.#plot.cursor.idx;
    const index = under ?? times.length - 1;
    setText(when, under === null ? mark : `at ${clock(times[under] * 1000)}`);
    const told = lines.map((line, series) => {
      const known = line.filter((it) => it !== null);
      const now = line[index] == null ? 'none' : this.#write(line[index]);
      const most = known.length ? `peak ${this.#write(Math.max(...known))}` : '';
      setText(values[series].now, now);
      setText(values[series].peak, most);
      return `${this.#names[series]} ${now} ${most}`.trim();
    });
    const title = root.querySelector('h2').firstChild.textContent.trim();
    canvas.setAttribute('aria-label', `${title}, the last five minutes: ${told.join('; ')}`);
  }

  #build(writeAxis, floor) {
    const { root } = this.#card;
    const figure = make('p', { class: 'figure' }, 'Waiting for the engine');
    const canvas = make('div', { class: 'plot', role: 'img', tabindex: '0', 'aria-label': 'No points yet' });
    const swatches = this.#names.map((_, series) => swatch(series));
    const values = this.#names.map(() => ({ now: make('b'), peak: make('small') }));
    const legend = make('ul', { class: 'legend' });
    this.#names.forEach((name, series) => {
      legend.append(make('li', {}, swatches[series], name, values[series].now, values[series].peak));
    });
    const when = make('small', { class: 'when' });
    root.classList.add('silent');
    root.append(figure, when, canvas, legend);
    Object.assign(this.#card, { figure, canvas, values, when });

    // Colours come from the style sheet, so that the charts follow the theme.
    const colour = (node) => () => getComputedStyle(node).color;
    const grid = () => getComputedStyle(root).borderTopColor;
    const axis = { stroke: colour(when), font: '11px system-ui, sans-serif', ticks: { show: false } };
    const points = { show: false, size: 4, filter: (u, series) => lonely(u.data[series]) };
    const series = swatches.map((it, index) => ({
      width: 1.5, dash: DASHES[index], stroke: colour(it), points: { ...points, fill: colour(it) },
    }));
    const light = () => colour(swatches[0])().replace('rgb', 'rgba').replace(')', ', 0.12)');
    if (series.length === 1) series[0].fill = light;
    const newest = () => this.#data[0].at(-1) ?? Date.now() / 1000;
    this.#plot = new uPlot({
      width: canvas.clientWidth || 300,
      height: HEIGHT_PX,
      padding: [8, 8, 0, 0],
      legend: { show: false },
      cursor: { drag: { x: false, y: false }, y: false, sync: { key: 'console' } },
      scales: {
        x: { range: () => [newest() - KEPT_SECONDS, newest()] },
        y: { range: (u, low, high) => [0, Math.max(floor, (high ?? 0) * 1.1)] },
      },
      axes: [
        {
          ...axis,
          size: 24,
          grid: { show: false },
          splits: () => AGO_MINUTES.map((it) => newest() - it * 60),
          values: () => AGO_MINUTES.map((it) => `−${it} min`),
        },
        { ...axis, size: 52, space: 28, grid: { stroke: grid, width: 1 }, values: (u, splits) => splits.map(writeAxis) },
      ],
      series: [{}, ...series],
      hooks: { setCursor: [() => this.#plot && this.#tell()] },
    }, this.#data, canvas);

    const fit = () => canvas.clientWidth && this.#plot.setSize({ width: canvas.clientWidth, height: HEIGHT_PX });
    new ResizeObserver(fit).observe(canvas);
    canvas.addEventListener('keydown', (event) => this.#step(event));
    canvas.addEventListener('blur', () => this.#plot.setCursor({ left: -10, top: -10 }));
  }

  /** The arrow keys go from point to point, as the pointer does. */
  #step(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || !this.#data[0].length) return;
    event.preventDefault();
    const last = this.#data[0].length - 1;
    const index = Math.min(last, Math.max(0, (this.#plot.cursor.idx ?? last + 1) + by));
    this.#plot.setCursor({ left: this.#plot.valToPos(this.#data[0][index], 'x'), top: 10 });
  }
}

/** Points with a gap on both sides, which no line would show. */
function lonely(line) {
  const isGap = (index) => line[index] == null;
  return [...line.keys()].filter((index) => !isGap(index) && isGap(index - 1) && isGap(index + 1));
}

/** A line as the chart draws it. */
function swatch(series) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 22 4');
  svg.setAttribute('class', `swatch line-${series}`);
  svg.setAttribute('aria-hidden', 'true');
  const line = document.createElementNS(SVG, 'path');
  line.setAttribute('d', 'M0 2H22');
  line.setAttribute('stroke-dasharray', DASHES[series].join(' ') || 'none');
  svg.append(line);
  return svg;
}
