// Package pages tests firn's pages in a real Chromium: the finished program, its pages over the loopback interface, and a browser that is watched.
//
// All of it is tests. Without Chromium they are skipped, and say so; where CI=true that is a failure. Whatever a page says on the console, asks of any other place, or fails to load is a failure of the test that looked at it,
// and so is what the rules of checker.js find: names of controls, headings, tables, contrast, sizes of targets and the like.
//
//	go test -C tools/pages ./...                     all of it; pictures of each page go to build/pages
//	UPDATE=1 go test -C tools/pages -run Pictures    the pictures of the guide, docs/guide/pictures/page-*.png
//
// It is a module of its own, so that what drives the browser stays out of the list of what firn depends on.
package pages
