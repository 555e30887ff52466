# One request with net/http; prints what arrived.
require "net/http"
require "uri"

url = URI(ARGV[0])
client = Net::HTTP.new(url.host, url.port)
client.use_ssl = url.scheme == "https"
client.open_timeout = client.read_timeout = 20
answer = client.request(Net::HTTP::Get.new(url.request_uri))
puts "reached #{answer.code} #{answer.each_name.to_a.join(",")}"
