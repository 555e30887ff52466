use std::convert::Infallible;

use hyper::service::service_fn;
use hyper::{Request, Response};

use super::*;
use crate::relay::answer::nothing;

/// A connection to a gateway that answers everything.
async fn add(carriers: &Carriers, crew: &Crew) -> Place {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let service = service_fn(async |_request: Request<hyper::body::Incoming>| {
        Ok::<_, Infallible>(Response::new(nothing()))
    });
    let serving = hyper::server::conn::http2::Builder::new(crew.clone())
        .serve_connection(TokioIo::new(far), service);
    crew.start(async move {
        drop(serving.await);
    });
    let mut dialling = carriers.dialling().await;
    let (_sender, place) = carriers.add(&mut dialling, near, crew).await.unwrap();
    place
}

#[tokio::test]
async fn a_connection_carries_so_many_tunnels_and_then_another_one_does() {
    let (carriers, crew) = (Carriers::default(), Crew::default());
    assert!(carriers.place().is_none(), "nothing is open");
    let mut places = vec![add(&carriers, &crew).await];
    for _ in 1..STREAMS_MAX {
        places.push(carriers.place().expect("there is room").1);
    }
    assert!(carriers.place().is_none(), "it is full");
    assert!(places.pop().is_some());
    assert!(carriers.place().is_some(), "a tunnel has ended");
    places.push(add(&carriers, &crew).await);
    assert_eq!(carriers.all().len(), 2);
}

#[tokio::test]
async fn a_connection_that_ended_carries_nothing() {
    let (carriers, crew) = (Carriers::default(), Crew::default());
    let _place = add(&carriers, &crew).await;
    let (sender, place) = carriers.place().unwrap();
    crew.end();
    drop(place);
    let ended = async {
        while !sender.is_closed() {
            tokio::task::yield_now().await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(10), ended).await;
    assert!(ended.is_ok(), "it is not closed");
    assert!(carriers.place().is_none());
    assert!(carriers.all().is_empty());
}
