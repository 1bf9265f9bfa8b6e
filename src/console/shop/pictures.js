// Line drawings for the demo catalogue, found by a word of the name; any other product shows its first letter.

import { make } from './page.js';

const PICTURES = [
  [/earbud/i, 'M10 24a9 9 0 0 1 18 0v22a4 4 0 0 1-8 0V33a9 9 0 0 1-10-9z'
    + 'M54 24a9 9 0 0 0-18 0v22a4 4 0 0 0 8 0V33a9 9 0 0 0 10-9z'],
  [/sneaker/i, 'M6 48V26c5 3 10 2 14-4 7 10 15 14 28 16 7 1 10 4 10 10zM6 48v4h52v-4M27 29l-5 5M33 33l-4 5M40 36l-3 5'],
  [/coffee/i, 'M15 8h34L37 28H27zM22 28h20M18 34h26v14a8 8 0 0 1-8 8H26a8 8 0 0 1-8-8zM44 38h4a5 5 0 0 1 0 10h-4'],
  [/ticket/i, 'M7 19h50v8a5 5 0 0 0 0 10v8H7v-8a5 5 0 0 0 0-10zM42 20v4M42 28v4M42 36v4M15 27h18M15 36h12'],
  [/\blamp\b/i, 'M24 8h16l10 22H14zM32 30v22M20 56h24M22 56a10 6 0 0 1 20 0M43 30v8'],
  [/\b(tote|bag)\b/i, 'M13 24h38l3 32H10zM22 32V19a10 10 0 0 1 20 0v13'],
];

const SVG = 'http://www.w3.org/2000/svg';

/** What stands for a product of this name. */
export function pictureOf(name) {
  const line = PICTURES.find(([word]) => word.test(name))?.[1];
  if (!line) return make('span', '', Array.from(name)[0] ?? '');
  const picture = document.createElementNS(SVG, 'svg');
  const path = document.createElementNS(SVG, 'path');
  picture.setAttribute('viewBox', '0 0 64 64');
  path.setAttribute('d', line);
  picture.append(path);
  return picture;
}
