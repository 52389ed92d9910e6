// The page of a timeline: a uPlot chart for each row over one time axis, a range slider, one tooltip for all rows.
'use strict';
(() => {
  const T = JSON.parse(document.getElementById('timeline').textContent);
  const columns = JSON.parse(document.getElementById('columns').textContent);
  const time = columns[0], all = [time[0], Math.max(time[time.length - 1], time[0] + 1e-3)];
  const darkMedia = matchMedia('(prefers-color-scheme: dark)');
  const shade = (colour) => colour[darkMedia.matches ? 1 : 0];
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const element = (tag, className, parent) => {
    const made = document.createElement(tag);
    if (className) made.className = className;
    (parent || document.body).append(made);
    return made;
  };
  const LEFT = 64, RIGHT = 64, HEIGHT = 190, LABEL_GAP = 13;
  let range = [...all], charts = [], shown = columns;

  // The first index with a time not less than `at`.
  const index = (at) => {
    let low = 0, high = time.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (time[middle] < at) low = middle + 1; else high = middle;
    }
    return low;
  };

  // The columns of a range: unchanged, or reduced to the smallest and largest point of each group, in order of time.
  const visible = ([from, to], most) => {
    const begin = Math.max(0, index(from) - 1), end = Math.min(time.length, index(to) + 1);
    if (end - begin <= most) return columns.map((column) => column.slice(begin, end));
    const stretch = Math.ceil((2 * (end - begin)) / most), out = columns.map(() => []);
    for (let i = begin; i < end; i += stretch) {
      const stop = Math.min(i + stretch, end);
      out[0].push(time[i], time[(i + stop) >> 1]);
      for (let c = 1; c < columns.length; ++c) {
        const column = columns[c];
        let low = -1, high = -1;
        for (let j = i; j < stop; ++j) {
          const value = column[j];
          if (value === null) continue;
          if (low < 0 || value < column[low]) low = j;
          if (high < 0 || value > column[high]) high = j;
        }
        if (low < 0) out[c].push(null, null);
        else out[c].push(column[Math.min(low, high)], column[Math.max(low, high)]);
      }
    }
    return out;
  };

  element('h1').textContent = T.title;
  element('p').textContent = T.subtitle + (time.length < T.samples ? `; reduced to ${time.length} points, minima and maxima kept` : '');
  const tools = element('div');
  const button = (text, title, action) => {
    const made = element('button', '', tools);
    made.textContent = text;
    made.title = title;
    made.onclick = action;
    tools.append(' ');
  };
  const kinds = element('span', '', tools);
  const labels = element('canvas', 'labels');
  const rows = element('div'), hover = element('div', 'hover'), slider = element('div', 'slider');
  const overview = element('canvas', '', slider), grip = element('div', 'window', slider);
  const ends = [element('b', '', grip), element('b', '', grip)];
  const labelled = T.spans.filter((span) => span.label).sort((a, b) => a.from - b.from);
  const labelHeight = 20 + 6.4 * labelled.reduce((most, span) => Math.max(most, span.label.length), 0);

  const setRange = (from, to) => {
    const least = Math.min((all[1] - all[0]) / 2, 1e-3), width = Math.min(Math.max(to - from, least), all[1] - all[0]);
    from = Math.min(Math.max(from, all[0]), all[1] - width);
    range = [from, from + width];
    requestDraw();
  };
  const pan = (share) => setRange(range[0] + share * (range[1] - range[0]), range[1] + share * (range[1] - range[0]));
  const zoom = (factor, at = (range[0] + range[1]) / 2) =>
    setRange(at - (at - range[0]) * factor, at + (range[1] - at) * factor);
  let asked = false;
  const requestDraw = () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(draw);
  };

  const draw = () => {
    asked = false;
    shown = visible(range, 2 * Math.max(200, rows.clientWidth - LEFT - RIGHT));
    for (const {chart, columns: own} of charts) {
      chart.batch(() => {
        chart.setData([shown[0], ...own.map((c) => shown[c])], false);
        chart.setScale('x', {min: range[0], max: range[1]});
      });
    }
    drawLabels();
    const width = all[1] - all[0];
    grip.style.left = `${(100 * (range[0] - all[0])) / width}%`;
    grip.style.width = `${(100 * (range[1] - range[0])) / width}%`;
    document.body.dataset.points = shown[0].length;
  };

  const canvasOf = (canvas, height) => {
    const ratio = devicePixelRatio || 1, width = canvas.clientWidth;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    canvas.style.height = `${height}px`;
    const context = canvas.getContext('2d');
    context.scale(ratio, ratio);
    return [context, width];
  };

  const drawLabels = () => {
    if (!labelled.length) return;
    const [context, width] = canvasOf(labels, labelHeight);
    context.fillStyle = css('--faint');
    context.font = '11px system-ui, sans-serif';
    let before = -Infinity;
    for (const span of labelled) {
      const x = LEFT + ((span.from - range[0]) / (range[1] - range[0])) * (width - LEFT - RIGHT);
      if (x < LEFT - 1 || x > width - RIGHT || x - before < LABEL_GAP) continue;
      before = x;
      context.save();
      context.translate(x + 4, labelHeight - 4);
      context.rotate(-Math.PI / 2);
      context.fillText(span.label, 0, 0);
      context.restore();
    }
  };

  const drawBackground = (u) => {
    const {left, top, width, height} = u.bbox;
    u.ctx.save();
    u.ctx.beginPath();
    u.ctx.rect(left, top, width, height);
    u.ctx.clip();
    u.ctx.strokeStyle = css('--faint');
    u.ctx.setLineDash([3, 3]);
    for (const span of T.spans) {
      if (span.to < range[0] || span.from > range[1]) continue;
      const x = u.valToPos(span.from, 'x', true);
      u.ctx.globalAlpha = 0.22;
      u.ctx.fillStyle = shade(span.colour);
      u.ctx.fillRect(x, top, Math.max(1, u.valToPos(span.to, 'x', true) - x), height);
      if (!span.label) continue;
      u.ctx.globalAlpha = 0.7;
      u.ctx.beginPath();
      u.ctx.moveTo(x, top);
      u.ctx.lineTo(x, top + height);
      u.ctx.stroke();
    }
    u.ctx.restore();
  };

  // Draws points coloured by value.
  const drawLevels = (u, seriesIndex, series) => {
    if (!series.levels.length) return;
    const values = u.data[seriesIndex], size = 3 * (devicePixelRatio || 1);
    const drawn = new Map();
    for (let i = 0; i < values.length; ++i) {
      if (values[i] === null) continue;
      const {colour} = series.levels.find((level) => values[i] < level.below) || {};
      if (!colour) continue;
      const x = u.valToPos(u.data[0][i], 'x', true), y = u.valToPos(values[i], series.second ? 'second' : 'y', true);
      if (x < u.bbox.left || x > u.bbox.left + u.bbox.width) continue;
      const key = shade(colour);
      if (!drawn.has(key)) drawn.set(key, new Path2D());
      drawn.get(key).rect(x - size / 2, y - size / 2, size, size);
    }
    for (const [colour, path] of drawn) {
      u.ctx.fillStyle = colour;
      u.ctx.fill(path);
    }
  };

  const showHover = (u) => {
    const event = u.cursor.event;
    if (!event || u.cursor.idx == null || u.cursor.left < 0) {
      if (event) hover.style.display = 'none';
      return;
    }
    const i = u.cursor.idx, at = shown[0][i];
    hover.replaceChildren();
    const table = element('table', '', hover);
    const line = (name, value) => {
      const row = element('tr', '', table);
      element('td', '', row).textContent = name;
      element('td', '', row).textContent = value;
    };
    line('time', `${at.toFixed(3)} min`);
    let c = 0;
    for (const row of T.rows) {
      for (const series of row.series) {
        const value = shown[++c][i];
        line(`${row.title}: ${series.label}`, value == null ? '–' : `${value.toFixed(series.decimals)} ${series.unit}`);
      }
    }
    for (const span of T.spans.filter((one) => one.from <= at && at <= one.to).slice(0, 6)) element('div', '', hover).textContent = span.note;
    hover.style.display = 'block';
    const x = event.clientX + 18, y = event.clientY + 18;
    hover.style.left = `${x + hover.offsetWidth > innerWidth ? Math.max(0, event.clientX - 18 - hover.offsetWidth) : x}px`;
    hover.style.top = `${Math.max(0, Math.min(y, innerHeight - hover.offsetHeight))}px`;
  };

  const listen = (u) => {
    u.over.addEventListener('wheel', (event) => {
      event.preventDefault();
      if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) pan((event.deltaX || event.deltaY) / 800);
      else zoom(Math.exp(Math.min(Math.max(event.deltaY, -200), 200) / 500), u.posToVal(event.offsetX, 'x'));
    }, {passive: false});
    // Dragging with Shift or the middle button pans; uPlot's own drag selects a range.
    u.over.addEventListener('pointerdown', (event) => {
      if (!event.shiftKey && event.button !== 1) return;
      event.preventDefault();
      follow(event, (moved) => (-moved / u.over.clientWidth) * (range[1] - range[0]), [0, 1]);
    }, true);
    u.over.addEventListener('mousedown', (event) => {
      if (event.shiftKey) event.stopImmediatePropagation();
    }, true);
    u.over.addEventListener('mouseleave', () => (hover.style.display = 'none'));
    u.over.addEventListener('dblclick', () => setRange(...all));
  };

  // Moves the ends `which` of the range with the pointer until it is released; `amount` converts pixels to minutes.
  const follow = (event, amount, which) => {
    const start = event.clientX, before = [...range], factor = amount(1);
    const move = (at) => {
      const next = [...before];
      for (const end of which) next[end] += (at.clientX - start) * factor;
      if (next[0] < next[1]) setRange(...next);
    };
    const stop = () => {
      removeEventListener('pointermove', move);
      removeEventListener('pointerup', stop);
    };
    addEventListener('pointermove', move);
    addEventListener('pointerup', stop);
    event.stopPropagation();
  };
  const bySlider = (moved) => (moved / slider.clientWidth) * (all[1] - all[0]);
  ends[0].addEventListener('pointerdown', (event) => follow(event, bySlider, [0]));
  ends[1].addEventListener('pointerdown', (event) => follow(event, bySlider, [1]));
  grip.addEventListener('pointerdown', (event) => follow(event, bySlider, [0, 1]));
  slider.addEventListener('pointerdown', (event) => {
    if (event.target === grip || ends.includes(event.target)) return;
    const at = all[0] + bySlider(event.clientX - slider.getBoundingClientRect().left), half = (range[1] - range[0]) / 2;
    setRange(at - half, at + half);
  });

  const drawOverview = () => {
    const [context, width] = canvasOf(overview, 52);
    const [times, values] = visible(all, 2 * Math.max(width, 100));
    const top = values.reduce((most, value) => Math.max(most, value || 0), 0) || 1;
    context.strokeStyle = css('--faint');
    context.beginPath();
    times.forEach((at, i) => {
      if (values[i] !== null) context.lineTo(((at - all[0]) / (all[1] - all[0])) * width, 50 - (values[i] / top) * 48);
    });
    context.stroke();
  };

  const key = (parent, colour, text) => {
    const made = element('span', 'key', parent);
    element('i', '', made).style.background = shade(colour);
    made.append(text);
  };

  const build = () => {
    for (const {chart} of charts) chart.destroy();
    charts = [];
    rows.replaceChildren();
    kinds.replaceChildren();
    const named = new Set();
    for (const span of T.spans) {
      if (!named.has(span.kind)) key(kinds, span.colour, span.kind);
      named.add(span.kind);
    }
    labels.style.display = labelled.length ? 'block' : 'none';
    let next = 1;
    for (const row of T.rows) {
      const own = row.series.map(() => next++), heading = element('h2', '', rows);
      heading.textContent = `${row.title}  `;
      for (const series of row.series) key(heading, series.colour, series.label);
      const largest = (second) =>
        row.series.reduce((most, series, i) => (series.second !== second ? most : columns[own[i]].reduce((a, b) => (b > a ? b : a), most)), 0);
      const top = row.top || largest(false) * 1.05 || 1, other = largest(true) * 1.05 || 1;
      const axis = {stroke: css('--faint'), grid: {stroke: css('--grid'), width: 1}, ticks: {stroke: css('--grid'), width: 1}};
      const chart = new uPlot({
        width: rows.clientWidth, height: HEIGHT, legend: {show: false}, padding: [8, row.second ? 0 : RIGHT, 0, 0],
        cursor: {sync: {key: 'timeline', setSeries: false}, drag: {x: true, y: false, setScale: false}, points: {size: 6}},
        scales: {x: {time: false, auto: false}, y: {auto: false, range: [0, top]}, second: {auto: false, range: [0, other]}},
        axes: [
          {...axis, label: row === T.rows[T.rows.length - 1] ? 'minutes' : undefined, labelSize: 20},
          {...axis, size: LEFT - 20, label: row.axis, labelSize: 20},
          ...(row.second ? [{...axis, scale: 'second', side: 1, size: RIGHT - 20, label: row.second, labelSize: 20, grid: {show: false}}] : []),
        ],
        series: [{}, ...row.series.map((series) => ({
          label: series.label, scale: series.second ? 'second' : 'y', stroke: shade(series.colour), width: 1.3, points: {show: false},
          fill: series.area ? shade(series.colour) + '40' : undefined, spanGaps: false,
        }))],
        hooks: {
          drawClear: [drawBackground],
          drawSeries: [(u, i) => i > 0 && drawLevels(u, i, row.series[i - 1])],
          setCursor: [showHover],
          setSelect: [(u) => {
            if (u.select.width > 4) setRange(u.posToVal(u.select.left, 'x'), u.posToVal(u.select.left + u.select.width, 'x'));
            u.setSelect({left: 0, top: 0, width: 0, height: 0}, false);
          }],
        },
      }, [[], ...own.map(() => [])], rows);
      listen(chart);
      charts.push({chart, columns: own});
    }
    drawOverview();
    draw();
  };

  button('−', 'zoom out (-)', () => zoom(2));
  button('+', 'zoom in (+), or drag over a chart', () => zoom(0.5));
  button('◀', 'earlier (←)', () => pan(-0.5));
  button('▶', 'later (→)', () => pan(0.5));
  button('all', 'show all (0), or double-click', () => setRange(...all));
  tools.append(kinds);
  const keys = {'-': () => zoom(2), '+': () => zoom(0.5), '=': () => zoom(0.5), ArrowLeft: () => pan(-0.2), ArrowRight: () => pan(0.2), 0: () => setRange(...all)};
  addEventListener('keydown', (event) => {
    if (!event.ctrlKey && !event.metaKey && !event.altKey && keys[event.key]) keys[event.key]();
  });
  let width = innerWidth;
  addEventListener('resize', () => {
    if (innerWidth !== width) build();
    width = innerWidth;
  });
  darkMedia.addEventListener('change', build);
  window.timeline = {setRange, range: () => range, shown: () => shown, draw};  // for the console and tests
  build();
  document.body.dataset.ready = '1';
})();
