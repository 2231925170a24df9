// Tests of firn's pages in a real browser, in a module of their own, so that firn's own list of dependencies stays short. Run them with: go test -C tools/pages ./...
module firn/tools/pages

go 1.26.0

require github.com/chromedp/chromedp v0.22.1

require (
	github.com/chromedp/cdproto v0.159.0 // indirect
	github.com/go-json-experiment/json v0.0.0-20260213210345-44df1a37e875 // indirect
)
