// Looks over the page that is shown, as it is shown now, and returns what those would stumble over who use it by keyboard, by screen reader, on a phone or with tired eyes: a list of {rule, what, where}.
// touch: the targets are for fingers.
(touch) => {
	const found = [];
	const where = (e) => {
		const id = e.id ? '#' + e.id : '', cls = typeof e.className === 'string' && e.className ? '.' + e.className.trim().replace(/\s+/g, '.') : '';
		const text = (e.textContent || '').trim().replace(/\s+/g, ' ').slice(0, 60);
		return e.tagName.toLowerCase() + id + cls + (text ? ' "' + text + '"' : '') + (e.parentElement && !id ? ' in ' + e.parentElement.tagName.toLowerCase() + (typeof e.parentElement.className === 'string' && e.parentElement.className ? '.' + e.parentElement.className : '') : '');
	};
	const say = (rule, e, what) => found.push({rule, what, where: e ? where(e) : ''});
	const all = (selector) => [...document.querySelectorAll(selector)];
	const shown = (e) => e.checkVisibility({visibilityProperty: true, opacityProperty: true, contentVisibilityAuto: true});
	const heard = (e) => e.checkVisibility({visibilityProperty: true}) && !e.closest('[aria-hidden="true"], [inert]');
	const squeeze = (s) => (s || '').replace(/\s+/g, ' ').trim();

	// What a thing is called, near enough to how browsers work it out.
	const name = (e, seen = new Set()) => {
		if (seen.has(e)) return '';
		seen.add(e);
		const by = squeeze(e.getAttribute('aria-labelledby'));
		if (by) {
			const text = squeeze(by.split(' ').map((id) => document.getElementById(id)).filter((x) => x).map((x) => content(x, seen)).join(' '));
			if (text) return text;
		}
		const own = squeeze(e.getAttribute('aria-label'));
		if (own) return own;
		if (e.labels && e.labels.length) {
			const text = squeeze([...e.labels].map((l) => content(l, seen)).join(' '));
			if (text) return text;
		}
		if (e.tagName === 'INPUT' && ['submit', 'button', 'reset'].includes(e.type)) return squeeze(e.value) || (e.type === 'submit' ? 'Submit' : '');
		if (['IMG', 'AREA'].includes(e.tagName) || e.tagName === 'INPUT' && e.type === 'image') return squeeze(e.alt);
		if (e.tagName.toLowerCase() === 'svg') {
			const title = e.querySelector(':scope > title');
			if (title) return squeeze(title.textContent);
		}
		if (e.matches('a, button, summary, legend, caption, h1, h2, h3, h4, h5, h6, th, td, li, option, [role]:not([role=img], [role=progressbar], [role=meter], [role=group], [role=region])')) return content(e, seen);
		if (e.tagName === 'FIELDSET') return squeeze((e.querySelector(':scope > legend') || {}).textContent);
		if (e.tagName === 'TABLE') return squeeze((e.querySelector(':scope > caption') || {}).textContent);
		return squeeze(e.getAttribute('title'));
	};
	const content = (e, seen) => {
		let text = '';
		for (const n of e.childNodes) {
			if (n.nodeType === Node.TEXT_NODE) text += n.data;
			else if (n.nodeType === Node.ELEMENT_NODE && n.getAttribute('aria-hidden') !== 'true' && !n.matches('script, style, template') && getComputedStyle(n).display !== 'none') {
				const own = n.getAttribute('aria-label') || n.getAttribute('aria-labelledby') || n.matches('img, svg, input') ? name(n, seen) : content(n, seen);
				text += n.matches('br, p, div, li, td, th') ? ' ' + own + ' ' : own;
			}
		}
		return squeeze(text) || squeeze(e.getAttribute('title'));
	};

	const page = () => {
		if (!squeeze(document.documentElement.lang)) say('language', document.documentElement, 'the page does not say its language');
		if (!squeeze(document.title)) say('title', null, 'the page has no title');
		const view = document.querySelector('meta[name=viewport]');
		if (!view) say('viewport', null, 'no viewport is set');
		else if (/user-scalable\s*=\s*(no|0)|maximum-scale\s*=\s*[01](\D|$)/.test(view.content)) say('viewport', null, 'the page cannot be enlarged');
		const sideways = Math.max(document.documentElement.scrollWidth, document.body.scrollWidth) - document.documentElement.clientWidth;
		if (sideways > 0) {
			const wide = all('body *').filter((e) => shown(e) && e.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5 && !clipped(e));
			say('sideways', wide[wide.length - 1], 'the page is ' + sideways + ' points wider than its window' + (wide[0] ? ', first by ' + where(wide[0]) : ''));
		}
	};

	// Within something that scrolls or cuts by itself.
	const clipped = (e) => {
		let lifted = getComputedStyle(e).position === 'absolute';
		for (let p = e.parentElement; p && p !== document.body; p = p.parentElement) {
			const s = getComputedStyle(p);
			if (lifted && s.position === 'static') continue;
			if (s.overflowX !== 'visible') return true;
			lifted = s.position === 'absolute';
		}
		return false;
	};

	const headings = () => {
		const list = all('h1, h2, h3, h4, h5, h6, [role=heading]').filter(heard);
		const level = (h) => Number(h.getAttribute('aria-level') || h.tagName.slice(1)) || 2;
		const first = list.filter((h) => level(h) === 1).length;
		if (first !== 1) say('heading', list[0], 'there are ' + first + ' headings of the first level');
		let last = 0;
		for (const h of list) {
			if (!name(h)) say('heading', h, 'an empty heading');
			if (level(h) > last + 1) say('heading', h, 'level ' + level(h) + ' follows level ' + last);
			last = level(h);
		}
	};

	const landmarks = () => {
		const mains = all('main, [role=main]').filter(heard);
		if (mains.length !== 1) say('landmark', null, 'there are ' + mains.length + ' main parts');
		const top = (e) => !e.closest('article, aside, main, nav, section');
		const headers = all('header, [role=banner]').filter((e) => heard(e) && top(e));
		if (headers.length !== 1) say('landmark', null, 'there are ' + headers.length + ' headers');
		for (const kind of ['nav, [role=navigation]', 'section[aria-label], section[aria-labelledby], [role=region]', 'form[aria-label], form[aria-labelledby], [role=search]', 'aside, [role=complementary]']) {
			const parts = all(kind).filter(heard), names = new Set();
			for (const p of parts) {
				const n = name(p);
				if (!n && (parts.length > 1 || p.matches('[role=region]'))) say('landmark', p, 'one of several without a name');
				if (n && names.has(n)) say('landmark', p, 'another one is called ' + n + ' as well');
				names.add(n);
			}
		}
		// All that is said lies in one of them.
		const inside = 'main, header, footer, nav, aside, [role=main], [role=banner], [role=contentinfo], [role=navigation], [role=alert], [role=status], [role=dialog], dialog, a[href^="#"]:first-child, script, style, template, noscript';
		for (const e of document.body.children) if (heard(e) && !e.matches(inside) && squeeze(e.textContent)) say('landmark', e, 'text outside of all landmarks');
		const skip = document.querySelector('a[href^="#"]');
		const to = skip && document.getElementById(skip.hash.slice(1));
		if (!to || !to.matches('main, [role=main], main *')) say('skip', null, 'no link leads past the header');
	};

	const ids = () => {
		const seen = new Set();
		for (const e of all('[id]')) {
			if (!e.id) say('id', e, 'an empty id');
			if (seen.has(e.id)) say('id', e, 'the id ' + e.id + ' stands twice');
			seen.add(e.id);
		}
		for (const a of ['aria-labelledby', 'aria-describedby', 'aria-controls', 'aria-owns', 'aria-details', 'aria-errormessage', 'aria-flowto', 'aria-activedescendant', 'for', 'headers', 'form', 'list']) {
			for (const e of all('[' + a + ']')) {
				const refs = squeeze(e.getAttribute(a)).split(' ').filter((x) => x);
				if (!refs.length) say('reference', e, a + ' is empty');
				for (const id of refs) if (!document.getElementById(id)) say('reference', e, a + ' names ' + id + ', which is not there');
			}
		}
		for (const e of all('a[href^="#"]')) {
			const id = decodeURIComponent(e.hash.slice(1));
			if (id && !document.getElementById(id)) say('reference', e, 'leads to ' + id + ', which is not there');
		}
	};

	const roles = new Set(('alert alertdialog article banner button cell checkbox columnheader combobox complementary contentinfo definition dialog directory document feed figure form grid gridcell group heading img ' +
		'link list listbox listitem log main marquee math menu menubar menuitem meter navigation none note option presentation progressbar radio radiogroup region row rowgroup rowheader scrollbar search ' +
		'searchbox separator slider spinbutton status switch tab table tablist tabpanel term textbox timer toolbar tooltip tree treegrid treeitem').split(' '));
	const states = new Set(('activedescendant atomic autocomplete braillelabel brailleroledescription busy checked colcount colindex colindextext colspan controls current describedby description details disabled ' +
		'errormessage expanded flowto haspopup hidden invalid keyshortcuts label labelledby level live modal multiline multiselectable orientation owns placeholder posinset pressed readonly relevant ' +
		'required roledescription rowcount rowindex rowindextext rowspan selected setsize sort valuemax valuemin valuenow valuetext').split(' '));
	const aria = () => {
		for (const e of all('[role]')) for (const r of squeeze(e.getAttribute('role')).split(' ')) if (!roles.has(r)) say('role', e, 'there is no role ' + r);
		for (const e of all('body, body *')) {
			for (const a of e.getAttributeNames()) if (a.startsWith('aria-') && !states.has(a.slice(5))) say('role', e, 'there is no ' + a);
			if (e.hasAttribute('tabindex') && e.tabIndex > 0) say('tabindex', e, 'tabindex ' + e.tabIndex);
			if (e.hasAttribute('aria-hidden') && e.getAttribute('aria-hidden') === 'true' && [e, ...e.querySelectorAll('*')].some((x) => x.tabIndex >= 0 && shown(x))) say('hidden', e, 'something in it takes the focus though it is hidden');
		}
		for (const e of all('[role=progressbar], [role=meter], progress, meter').filter(heard)) if (!name(e)) say('name', e, 'shows how far something is, and not what');
		for (const e of all('[role=progressbar]').filter(heard)) if (e.hasAttribute('aria-valuenow') && !(Number(e.getAttribute('aria-valuenow')) >= 0)) say('role', e, 'its value is no number');
		const parents = {row: 'table, [role=table], [role=grid], [role=treegrid]', listitem: 'ul, ol, [role=list]', option: '[role=listbox], select', tab: '[role=tablist]', treeitem: '[role=tree], [role=treeitem]', gridcell: '[role=row], tr', menuitem: '[role=menu], [role=menubar]'};
		for (const r in parents) for (const e of all('[role=' + r + ']')) if (!e.parentElement.closest(parents[r])) say('role', e, 'a ' + r + ' without what it belongs to');
	};

	const interactive = 'a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex="0"], [role=button], [role=link], [role=checkbox], [role=switch], [role=tab], [role=menuitem], [role=option], [contenteditable=true]';
	const controls = () => {
		for (const e of all(interactive).filter(heard)) {
			if (!name(e)) say('name', e, 'has no name');
			if (e.matches('a, button') && e.parentElement.closest('a[href], button, summary')) say('nested', e, 'lies in something else that can be pressed');
		}
		for (const e of all('input:not([type=hidden], [type=submit], [type=button], [type=reset], [type=image]), select, textarea').filter(heard)) {
			const labelled = [...(e.labels || [])].some((l) => squeeze(l.textContent)) || squeeze(e.getAttribute('aria-label')) || squeeze(e.getAttribute('aria-labelledby'));
			if (!labelled) say('label', e, 'a field without a label');
		}
		const groups = new Map();
		for (const e of all('input[type=radio]').filter(heard)) groups.set(e.name, [...(groups.get(e.name) || []), e]);
		for (const [n, list] of groups) {
			const box = list[0].closest('fieldset, [role=radiogroup]');
			if (list.length > 1 && (!box || !name(box))) say('label', list[0], 'what is chosen among, by the name ' + n + ', is not said');
		}
		for (const e of all('a:not([href])')) if (!e.id && !e.hasAttribute('role')) say('name', e, 'a link that leads nowhere');
		for (const e of all('form').filter(heard)) if (!e.querySelector('button, input[type=submit], input[type=image]') && ![...e.elements].some((x) => x.matches('button, [type=submit]'))) say('form', e, 'a form without a button');
	};

	const pictures = () => {
		for (const e of all('img')) if (!e.hasAttribute('alt')) say('picture', e, 'a picture without alt');
		for (const e of all('svg').filter(heard)) if (!e.parentElement.closest('svg') && !name(e)) say('picture', e, 'a drawing that is neither hidden nor named');
		for (const e of all('svg').filter(heard)) if (!e.parentElement.closest('svg') && e.getAttribute('role') !== 'img' && !e.querySelector('a[href]') && e.getAttribute('role') !== 'group') say('picture', e, 'a drawing without role img');
		for (const e of all('iframe, object, embed, video, audio')) if (!name(e)) say('picture', e, 'has no name');
	};

	const tables = () => {
		for (const t of all('table').filter(heard)) {
			if (t.getAttribute('role') === 'presentation') continue;
			if (!name(t)) say('table', t, 'a table without caption or name');
			const heads = [...t.querySelectorAll('th')].filter((h) => h.closest('table') === t);
			if (!heads.length) say('table', t, 'a table without headers');
			for (const h of heads) {
				if (!['row', 'col', 'rowgroup', 'colgroup'].includes(h.scope)) say('table', h, 'a header without scope');
				if (!name(h)) say('table', h, 'an empty header');
			}
			const widths = new Set([...t.rows].filter((r) => r.closest('table') === t).map((r) => [...r.cells].reduce((n, c) => n + c.colSpan, 0)));
			if (widths.size > 1 && ![...t.querySelectorAll('[rowspan]')].length) say('table', t, 'rows of different widths: ' + [...widths].join(', '));
		}
		for (const l of all('ul, ol')) for (const e of l.children) if (!e.matches('li, script, template')) say('list', e, 'no entry, but in a list');
		for (const l of all('li')) if (!l.parentElement.matches('ul, ol, menu')) say('list', l, 'an entry outside of a list');
		for (const l of all('dl')) for (const e of l.children) if (!e.matches('dt, dd, div, script, template')) say('list', e, 'neither term nor description, but in a list of them');
	};

	// Colours, by having them painted: what the browser makes of them is what counts.
	const brush = Object.assign(document.createElement('canvas'), {width: 1, height: 1}).getContext('2d', {willReadFrequently: true});
	const known = new Map();
	const colour = (text) => {
		if (!known.has(text)) {
			brush.clearRect(0, 0, 1, 1);
			brush.fillStyle = '#000';
			brush.fillStyle = text;
			brush.fillRect(0, 0, 1, 1);
			const [r, g, b, a] = brush.getImageData(0, 0, 1, 1).data;
			known.set(text, [r, g, b, a / 255]);
		}
		return known.get(text);
	};
	const over = (top, below) => {
		const a = top[3] + below[3] * (1 - top[3]);
		return a === 0 ? [0, 0, 0, 0] : [0, 1, 2].map((i) => (top[i] * top[3] + below[i] * below[3] * (1 - top[3])) / a).concat(a);
	};
	const light = (c) => [0, 1, 2].map((i) => c[i] / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce((n, v, i) => n + v * [0.2126, 0.7152, 0.0722][i], 0);
	const ratio = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
	const paper = () => colour(getComputedStyle(document.documentElement).colorScheme.includes('dark') && matchMedia('(prefers-color-scheme: dark)').matches ? '#121212' : '#ffffff');
	const ground = (e) => {
		let c = [0, 0, 0, 0];
		for (let p = e; p; p = p.parentElement) {
			const s = getComputedStyle(p);
			if (s.backgroundImage !== 'none' && c[3] < 1) return null; // cannot be told
			c = over(c, colour(s.backgroundColor));
			if (c[3] >= 0.999) return c;
		}
		return over(c, paper());
	};
	// What lies under a word in a drawing: the last shape before it that its middle is in.
	const shapeUnder = (e) => {
		const b = e.getBoundingClientRect(), x = b.left + b.width / 2, y = b.top + b.height / 2;
		let found = null;
		for (const s of e.closest('svg').querySelectorAll('rect, circle, ellipse, path, polygon')) {
			if (!(s.compareDocumentPosition(e) & Node.DOCUMENT_POSITION_FOLLOWING)) break;
			const r = s.getBoundingClientRect(), fill = getComputedStyle(s).fill;
			if (fill !== 'none' && r.left <= x && x <= r.right && r.top <= y && y <= r.bottom) found = s;
		}
		return found;
	};
	const opacity = (e) => {
		let o = 1;
		for (let p = e; p; p = p.parentElement) o *= Number(getComputedStyle(p).opacity);
		return o;
	};
	const contrast = () => {
		const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
		const done = new Set();
		for (let n = walker.nextNode(); n; n = walker.nextNode()) {
			const e = n.parentElement;
			if (!squeeze(n.data) || done.has(e) || !shown(e) || e.closest('script, style, noscript, template, title, desc, option, :disabled, [aria-disabled=true]')) continue;
			done.add(e);
			const s = getComputedStyle(e), box = e.getBoundingClientRect();
			if (box.width <= 1 || box.height <= 1 || s.clipPath !== 'none' && e.matches('.visually-hidden, .hidden, .sr')) continue;
			let below = ground(e);
			if (below && e instanceof SVGElement && e.closest('svg')) {
				const under = shapeUnder(e);
				if (under) below = over(colour(getComputedStyle(under).fill).map((v, i) => i === 3 ? v * Number(getComputedStyle(under).fillOpacity) * opacity(under) : v), below);
			}
			if (!below) {
				say('contrast', e, 'text over a picture');
				continue;
			}
			const ink = colour(e instanceof SVGElement ? s.fill : s.color);
			const seen = over([ink[0], ink[1], ink[2], ink[3] * opacity(e)], below);
			const points = parseFloat(s.fontSize), least = points >= 24 || points >= 18.66 && Number(s.fontWeight) >= 700 ? 3 : 4.5;
			const r = ratio(seen, below);
			if (r < least - 0.005) say('contrast', e, r.toFixed(2) + ' : 1, and ' + least + ' are needed (' + (e instanceof SVGElement ? s.fill : s.color) + ' on rgb ' + below.slice(0, 3).map(Math.round).join(' ') + ')');
		}
		for (const e of all('input:not([type=hidden], [type=submit], [type=button], [type=image], [type=reset], [type=range]), select, textarea').filter((x) => shown(x) && !x.disabled)) {
			const s = getComputedStyle(e), below = ground(e.parentElement);
			if (!below || s.appearance === 'auto' && e.matches('[type=checkbox], [type=radio]')) continue;
			const edge = parseFloat(s.borderBottomWidth) >= 1 && s.borderBottomStyle !== 'none' ? ratio(over(colour(s.borderBottomColor), below), below) : 1;
			if (Math.max(edge, ratio(over(colour(s.backgroundColor), below), below)) < 2.995) say('contrast', e, 'the edge of a field, ' + edge.toFixed(2) + ' : 1, and 3 are needed');
		}
		// Links in sentences are told by more than their colour.
		for (const a of all('p a[href], li a[href], dd a[href]').filter(shown)) {
			const p = a.parentElement, rest = squeeze([...p.childNodes].filter((n) => n.nodeType === Node.TEXT_NODE).map((n) => n.data).join(''));
			if (rest.length < 12 || getComputedStyle(a).display !== 'inline') continue;
			const s = getComputedStyle(a);
			if (s.textDecorationLine === 'none' && s.borderBottomStyle === 'none' && s.fontWeight === getComputedStyle(p).fontWeight && !a.matches('.button')) say('link', a, 'a link in a sentence that only its colour tells');
		}
	};

	const targets = () => {
		if (!touch) return;
		const least = 24;
		const list = all(interactive).filter((e) => shown(e) && !e.disabled && e.tabIndex >= 0).map((e) => {
			let box = e.getBoundingClientRect();
			if (e.matches('[type=checkbox], [type=radio]')) { // the label can be pressed as well
				for (const l of e.labels || []) {
					const b = l.getBoundingClientRect(), left = Math.min(b.left, box.left), up = Math.min(b.top, box.top);
					box = new DOMRect(left, up, Math.max(b.right, box.right) - left, Math.max(b.bottom, box.bottom) - up);
				}
			}
			return {e, box};
		}).filter((t) => t.box.width > 1 && t.box.height > 1);
		const small = (t) => t.box.width < least - 0.5 || t.box.height < least - 0.5;
		const apart = (t, o) => { // the circle around t touches neither o nor the circle around it
			const x = t.box.left + t.box.width / 2, y = t.box.top + t.box.height / 2;
			const dx = Math.max(o.box.left - x, 0, x - o.box.right), dy = Math.max(o.box.top - y, 0, y - o.box.bottom);
			if (Math.hypot(dx, dy) < least / 2 - 0.5) return false;
			return !small(o) || Math.hypot(o.box.left + o.box.width / 2 - x, o.box.top + o.box.height / 2 - y) >= least - 0.5;
		};
		list.sort((a, b) => a.box.top - b.box.top);
		list.forEach((t, i) => {
			if (!small(t)) return;
			const s = getComputedStyle(t.e), p = t.e.parentElement;
			if (s.display === 'inline' && squeeze([...p.childNodes].filter((n) => n !== t.e).map((n) => n.nodeType === Node.TEXT_NODE ? n.data : '').join(''))) return; // in a sentence
			if (t.e.matches('.skip')) return;
			for (const step of [-1, 1]) {
				for (let j = i + step; j >= 0 && j < list.length && Math.abs(list[j].box.top - t.box.top) < 200; j += step) {
					if (t.e.contains(list[j].e) || list[j].e.contains(t.e) || apart(t, list[j])) continue;
					say('target', t.e, 'only ' + Math.round(t.box.width) + '×' + Math.round(t.box.height) + ' points, and close to ' + where(list[j].e));
					return;
				}
			}
		});
	};

	for (const rule of [page, headings, landmarks, ids, aria, controls, pictures, tables, contrast, targets]) rule();
	return found;
}
