// Package doctest runs what the documents tell people to type, so that they stay true.
//
// A page is a Markdown file. Its fenced blocks of the language sh run in order, in one shell, in a small world of the page's own: a root folder in memory into which the
// programs of this machine are mounted, a network that ends at the loopback interface, an S3 server with cold classes on it, and the firn of this source. Programs that would act upon a real
// machine (systemctl, kubectl, ssh and so on) have stand-ins that check what they can and do the rest here. Comments of Markdown, which readers do not see, tell what a page needs:
//
//	<!-- needs: s3 zfs jq -->         servers (s3, and real ones of zfs, postgres, mariadb) and programs; where one is missing the page is left out, and with CI=true fails
//	<!-- test: COMMANDS -->           run here, unseen, on one line or several
//	<!-- not run: REASON -->          the next block is left out; counted and listed
//	<!-- output -->                   the next block, of the language text, is what the last one printed: numbers, ids and times may differ, lines may be left out
//	<!-- file: PATH -->               the next block is put into this file
//	<!-- kubernetes -->               the next block, of the language yaml, is parsed, and the command line of each of its containers is run
//
// The blocks that .ci/run runs, which carry marks of their own in README.md, are left to it.
package doctest
